use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use sea_orm::{
    ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbBackend, DbErr, ExecResult, QueryResult,
    SqliteTransactionMode, Statement, TransactionOptions, TransactionTrait as _,
};

use crate::{
    connection_cache::ConnectionCache, pooled_connection::CachedTransaction,
    run_to_completion::RunToCompletion, session::Opener,
};

/// Runs queries outside transactions and begins transactions. It implements `ConnectionTrait`. Cheap to
/// clone.
#[derive(Clone)]
pub struct Connection(Pool);

#[derive(Clone)]
enum Pool {
    /// The pool of the driver.
    Sqlite(DatabaseConnection),
    Postgres(Arc<ConnectionCache>),
}

impl Connection {
    pub(crate) fn sqlite(pool: DatabaseConnection) -> Self {
        Self(Pool::Sqlite(pool))
    }

    pub(crate) fn postgres(opener: Opener, connections: u32, acquire_timeout: Duration) -> Self {
        let cache = ConnectionCache::new(opener, connections, acquire_timeout);
        Self(Pool::Postgres(Arc::new(cache)))
    }

    /// Begins a transaction that the caller ends. It is rolled back when dropped.
    pub async fn begin(&self) -> Result<Transaction, DbErr> {
        self.begin_with(None).await
    }

    pub(crate) async fn begin_with(&self, mode: Option<SqliteTransactionMode>) -> Result<Transaction, DbErr> {
        match &self.0 {
            Pool::Postgres(cache) => Ok(Transaction(Kind::Cached(cache.begin().await?))),
            Pool::Sqlite(_) => self.begin_driver(mode).await,
        }
    }

    /// Begins a transaction of the driver, which SQLite and the migrations use. On PostgreSQL it has a
    /// connection of its own, beside the limit of connections, and no deadline for its statements.
    ///
    /// It runs to completion, because the driver registers a transaction only after the database has replied.
    /// If the future were dropped before that, for example because the caller disconnected, the connection
    /// would return to its pool inside a transaction that nothing ends, and later writes through it would
    /// never be committed.
    pub(crate) async fn begin_driver(
        &self,
        sqlite_transaction_mode: Option<SqliteTransactionMode>,
    ) -> Result<Transaction, DbErr> {
        let options = TransactionOptions {
            sqlite_transaction_mode,
            ..TransactionOptions::default()
        };
        let pool = match &self.0 {
            Pool::Sqlite(pool) => pool.clone(),
            Pool::Postgres(cache) => cache.driver_pool(),
        };
        let tx = RunToCompletion::new(async move { pool.begin_with_options(options).await }).await?;
        Ok(Transaction(Kind::Driver(tx)))
    }

    /// Returns the connection cache; `None` on SQLite.
    pub(crate) fn cache(&self) -> Option<&Arc<ConnectionCache>> {
        match &self.0 {
            Pool::Sqlite(_) => None,
            Pool::Postgres(cache) => Some(cache),
        }
    }

    pub(crate) async fn close(&self) -> Result<(), DbErr> {
        match &self.0 {
            Pool::Sqlite(pool) => pool.close_by_ref().await,
            Pool::Postgres(cache) => {
                cache.close().await;
                Ok(())
            }
        }
    }
}

#[async_trait]
impl ConnectionTrait for Connection {
    fn get_database_backend(&self) -> DbBackend {
        match &self.0 {
            Pool::Sqlite(pool) => pool.get_database_backend(),
            Pool::Postgres(_) => DbBackend::Postgres,
        }
    }
    async fn execute_raw(&self, stmt: Statement) -> Result<ExecResult, DbErr> {
        match &self.0 {
            Pool::Postgres(cache) => cache.take().await?.execute(stmt).await,
            Pool::Sqlite(pool) => pool.execute_raw(stmt).await,
        }
    }
    async fn execute_unprepared(&self, sql: &str) -> Result<ExecResult, DbErr> {
        match &self.0 {
            Pool::Postgres(cache) => cache.take().await?.execute_unprepared(sql).await,
            Pool::Sqlite(pool) => pool.execute_unprepared(sql).await,
        }
    }
    async fn query_one_raw(&self, stmt: Statement) -> Result<Option<QueryResult>, DbErr> {
        match &self.0 {
            Pool::Postgres(cache) => cache.take().await?.query_one(stmt).await,
            Pool::Sqlite(pool) => pool.query_one_raw(stmt).await,
        }
    }
    async fn query_all_raw(&self, stmt: Statement) -> Result<Vec<QueryResult>, DbErr> {
        match &self.0 {
            Pool::Postgres(cache) => cache.take().await?.query_all(stmt).await,
            Pool::Sqlite(pool) => pool.query_all_raw(stmt).await,
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
    /// Commits the transaction.
    pub async fn commit(self) -> Result<(), DbErr> {
        match self.0 {
            Kind::Driver(tx) => tx.commit().await,
            Kind::Cached(tx) => tx.commit().await,
        }
    }

    /// Returns the transaction of the driver, if it is one.
    pub(crate) fn driver(&self) -> Option<&DatabaseTransaction> {
        match &self.0 {
            Kind::Driver(tx) => Some(tx),
            Kind::Cached(_) => None,
        }
    }

    /// Rolls the transaction back.
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
