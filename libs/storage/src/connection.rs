use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use sea_orm::{
    ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbBackend, DbErr, ExecResult, QueryResult,
    SqliteTransactionMode, Statement, TransactionOptions, TransactionTrait as _,
};

use crate::{
    connection_cache::{CachedTransaction, ConnectionCache},
    run_to_completion::RunToCompletion,
};

/// Where queries outside of transactions run, and where transactions begin. Passed where a connection is asked for. Cheap
/// to clone.
#[derive(Clone)]
pub struct Connection {
    /// The driver's pool.
    pool: DatabaseConnection,
    /// On PostgreSQL.
    cache: Option<Arc<ConnectionCache>>,
}

impl Connection {
    pub(crate) fn sqlite(pool: DatabaseConnection) -> Self {
        Self { pool, cache: None }
    }

    pub(crate) fn postgres(pool: DatabaseConnection, timeout: Duration) -> Self {
        let cache = ConnectionCache::new(pool.get_postgres_connection_pool().clone(), timeout);
        Self {
            pool,
            cache: Some(Arc::new(cache)),
        }
    }

    /// Begins a transaction that is ended by hand. Dropped, it is rolled back.
    pub async fn begin(&self) -> Result<Transaction, DbErr> {
        self.begin_with(None).await
    }

    pub(crate) async fn begin_with(&self, mode: Option<SqliteTransactionMode>) -> Result<Transaction, DbErr> {
        match &self.cache {
            Some(cache) => Ok(Transaction(Kind::Cached(cache.begin().await?))),
            None => self.begin_driver(mode).await,
        }
    }

    /// Begins a transaction of the driver's own kind, which SQLite has and migrations want. Wholly: the driver knows of one when
    /// the database has answered. Given up before that, as a call is whose caller goes away, the connection would go back to its
    /// pool in a transaction that nobody ends, and what is written through it next would never be committed.
    pub(crate) async fn begin_driver(
        &self,
        sqlite_transaction_mode: Option<SqliteTransactionMode>,
    ) -> Result<Transaction, DbErr> {
        if let Some(cache) = &self.cache {
            cache.give_back();
        }
        let options = TransactionOptions {
            sqlite_transaction_mode,
            ..TransactionOptions::default()
        };
        let pool = self.pool.clone();
        let tx = RunToCompletion::new(async move { pool.begin_with_options(options).await }).await?;
        Ok(Transaction(Kind::Driver(tx)))
    }

    /// A connection for one user that keeps it, on PostgreSQL.
    pub(crate) fn cache(&self) -> Option<&Arc<ConnectionCache>> {
        self.cache.as_ref()
    }

    pub(crate) async fn close(&self) -> Result<(), DbErr> {
        if let Some(cache) = &self.cache {
            cache.close();
        }
        self.pool.close_by_ref().await
    }
}

#[async_trait]
impl ConnectionTrait for Connection {
    fn get_database_backend(&self) -> DbBackend {
        self.pool.get_database_backend()
    }
    async fn execute_raw(&self, stmt: Statement) -> Result<ExecResult, DbErr> {
        match &self.cache {
            Some(cache) => cache.take().await?.execute(stmt).await,
            None => self.pool.execute_raw(stmt).await,
        }
    }
    async fn execute_unprepared(&self, sql: &str) -> Result<ExecResult, DbErr> {
        match &self.cache {
            Some(cache) => cache.take().await?.execute_unprepared(sql).await,
            None => self.pool.execute_unprepared(sql).await,
        }
    }
    async fn query_one_raw(&self, stmt: Statement) -> Result<Option<QueryResult>, DbErr> {
        match &self.cache {
            Some(cache) => cache.take().await?.query_one(stmt).await,
            None => self.pool.query_one_raw(stmt).await,
        }
    }
    async fn query_all_raw(&self, stmt: Statement) -> Result<Vec<QueryResult>, DbErr> {
        match &self.cache {
            Some(cache) => cache.take().await?.query_all(stmt).await,
            None => self.pool.query_all_raw(stmt).await,
        }
    }
}

/// A transaction without the rules of [`crate::Tx`].
pub struct Transaction(Kind);

enum Kind {
    Driver(DatabaseTransaction),
    Cached(CachedTransaction),
}

impl Transaction {
    /// Commits.
    pub async fn commit(self) -> Result<(), DbErr> {
        match self.0 {
            Kind::Driver(tx) => tx.commit().await,
            Kind::Cached(tx) => tx.commit().await,
        }
    }

    /// The driver's own, if it is one.
    pub(crate) fn driver(&self) -> Option<&DatabaseTransaction> {
        match &self.0 {
            Kind::Driver(tx) => Some(tx),
            Kind::Cached(_) => None,
        }
    }

    /// Undoes all.
    pub async fn rollback(self) -> Result<(), DbErr> {
        match self.0 {
            Kind::Driver(tx) => tx.rollback().await,
            Kind::Cached(tx) => tx.rollback().await,
        }
    }
}

#[async_trait]
impl ConnectionTrait for Transaction {
    fn get_database_backend(&self) -> DbBackend {
        match &self.0 {
            Kind::Driver(tx) => tx.get_database_backend(),
            Kind::Cached(_) => DbBackend::Postgres,
        }
    }
    async fn execute_raw(&self, stmt: Statement) -> Result<ExecResult, DbErr> {
        match &self.0 {
            Kind::Driver(tx) => tx.execute_raw(stmt).await,
            Kind::Cached(tx) => tx.connection().await.execute(stmt).await,
        }
    }
    async fn execute_unprepared(&self, sql: &str) -> Result<ExecResult, DbErr> {
        match &self.0 {
            Kind::Driver(tx) => tx.execute_unprepared(sql).await,
            Kind::Cached(tx) => tx.connection().await.execute_unprepared(sql).await,
        }
    }
    async fn query_one_raw(&self, stmt: Statement) -> Result<Option<QueryResult>, DbErr> {
        match &self.0 {
            Kind::Driver(tx) => tx.query_one_raw(stmt).await,
            Kind::Cached(tx) => tx.connection().await.query_one(stmt).await,
        }
    }
    async fn query_all_raw(&self, stmt: Statement) -> Result<Vec<QueryResult>, DbErr> {
        match &self.0 {
            Kind::Driver(tx) => tx.query_all_raw(stmt).await,
            Kind::Cached(tx) => tx.connection().await.query_all(stmt).await,
        }
    }
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection")
            .field("backend", &self.get_database_backend())
            .finish_non_exhaustive()
    }
}
