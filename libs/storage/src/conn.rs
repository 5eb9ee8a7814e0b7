use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use sea_orm::{
    ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbBackend, DbErr, ExecResult, QueryResult,
    SqliteTransactionMode, Statement, TransactionOptions, TransactionTrait as _,
};

use crate::{
    kept::{Kept, Open},
    whole::Whole,
};

/// Where queries outside of transactions run, and where transactions begin. Passed where a connection is asked for. Cheap
/// to clone.
#[derive(Clone)]
pub struct Conn {
    /// The driver's pool.
    pool: DatabaseConnection,
    /// On PostgreSQL.
    kept: Option<Arc<Kept>>,
}

impl Conn {
    pub(crate) fn sqlite(pool: DatabaseConnection) -> Self {
        Self { pool, kept: None }
    }

    pub(crate) fn postgres(pool: DatabaseConnection, timeout: Duration) -> Self {
        let kept = Kept::new(pool.get_postgres_connection_pool().clone(), timeout);
        Self {
            pool,
            kept: Some(Arc::new(kept)),
        }
    }

    /// Begins a transaction that is ended by hand. Dropped, it is rolled back.
    pub async fn begin(&self) -> Result<OpenTransaction, DbErr> {
        self.begin_with(None).await
    }

    pub(crate) async fn begin_with(
        &self,
        mode: Option<SqliteTransactionMode>,
    ) -> Result<OpenTransaction, DbErr> {
        match &self.kept {
            Some(kept) => Ok(OpenTransaction(Kind::Kept(kept.begin().await?))),
            None => self.begin_driver(mode).await,
        }
    }

    /// Begins a transaction of the driver's own kind, which SQLite has and migrations want. Wholly: the driver knows of one when
    /// the database has answered. Given up before that, as a call is whose caller goes away, the connection would go back to its
    /// pool in a transaction that nobody ends, and what is written through it next would never be committed.
    pub(crate) async fn begin_driver(
        &self,
        sqlite_transaction_mode: Option<SqliteTransactionMode>,
    ) -> Result<OpenTransaction, DbErr> {
        if let Some(kept) = &self.kept {
            kept.give_back();
        }
        let options = TransactionOptions {
            sqlite_transaction_mode,
            ..TransactionOptions::default()
        };
        let pool = self.pool.clone();
        let tx = Whole::new(async move { pool.begin_with_options(options).await }).await?;
        Ok(OpenTransaction(Kind::Driver(tx)))
    }

    /// A connection for one user that keeps it, on PostgreSQL.
    pub(crate) fn kept(&self) -> Option<&Arc<Kept>> {
        self.kept.as_ref()
    }

    pub(crate) async fn close(&self) -> Result<(), DbErr> {
        if let Some(kept) = &self.kept {
            kept.close();
        }
        self.pool.close_by_ref().await
    }
}

#[async_trait]
impl ConnectionTrait for Conn {
    fn get_database_backend(&self) -> DbBackend {
        self.pool.get_database_backend()
    }
    async fn execute_raw(&self, stmt: Statement) -> Result<ExecResult, DbErr> {
        match &self.kept {
            Some(kept) => kept.take().await?.execute(stmt).await,
            None => self.pool.execute_raw(stmt).await,
        }
    }
    async fn execute_unprepared(&self, sql: &str) -> Result<ExecResult, DbErr> {
        match &self.kept {
            Some(kept) => kept.take().await?.execute_unprepared(sql).await,
            None => self.pool.execute_unprepared(sql).await,
        }
    }
    async fn query_one_raw(&self, stmt: Statement) -> Result<Option<QueryResult>, DbErr> {
        match &self.kept {
            Some(kept) => kept.take().await?.query_one(stmt).await,
            None => self.pool.query_one_raw(stmt).await,
        }
    }
    async fn query_all_raw(&self, stmt: Statement) -> Result<Vec<QueryResult>, DbErr> {
        match &self.kept {
            Some(kept) => kept.take().await?.query_all(stmt).await,
            None => self.pool.query_all_raw(stmt).await,
        }
    }
}

/// A transaction without the rules of [`crate::Tx`].
pub struct OpenTransaction(Kind);

enum Kind {
    Driver(DatabaseTransaction),
    Kept(Open),
}

impl OpenTransaction {
    /// Commits.
    pub async fn commit(self) -> Result<(), DbErr> {
        match self.0 {
            Kind::Driver(tx) => tx.commit().await,
            Kind::Kept(tx) => tx.commit().await,
        }
    }

    /// The driver's own, if it is one.
    pub(crate) fn driver(&self) -> Option<&DatabaseTransaction> {
        match &self.0 {
            Kind::Driver(tx) => Some(tx),
            Kind::Kept(_) => None,
        }
    }

    /// Undoes all.
    pub async fn rollback(self) -> Result<(), DbErr> {
        match self.0 {
            Kind::Driver(tx) => tx.rollback().await,
            Kind::Kept(tx) => tx.rollback().await,
        }
    }
}

#[async_trait]
impl ConnectionTrait for OpenTransaction {
    fn get_database_backend(&self) -> DbBackend {
        match &self.0 {
            Kind::Driver(tx) => tx.get_database_backend(),
            Kind::Kept(_) => DbBackend::Postgres,
        }
    }
    async fn execute_raw(&self, stmt: Statement) -> Result<ExecResult, DbErr> {
        match &self.0 {
            Kind::Driver(tx) => tx.execute_raw(stmt).await,
            Kind::Kept(tx) => tx.lease().await.execute(stmt).await,
        }
    }
    async fn execute_unprepared(&self, sql: &str) -> Result<ExecResult, DbErr> {
        match &self.0 {
            Kind::Driver(tx) => tx.execute_unprepared(sql).await,
            Kind::Kept(tx) => tx.lease().await.execute_unprepared(sql).await,
        }
    }
    async fn query_one_raw(&self, stmt: Statement) -> Result<Option<QueryResult>, DbErr> {
        match &self.0 {
            Kind::Driver(tx) => tx.query_one_raw(stmt).await,
            Kind::Kept(tx) => tx.lease().await.query_one(stmt).await,
        }
    }
    async fn query_all_raw(&self, stmt: Statement) -> Result<Vec<QueryResult>, DbErr> {
        match &self.0 {
            Kind::Driver(tx) => tx.query_all_raw(stmt).await,
            Kind::Kept(tx) => tx.lease().await.query_all(stmt).await,
        }
    }
}

impl std::fmt::Debug for Conn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Conn")
            .field("backend", &self.get_database_backend())
            .finish_non_exhaustive()
    }
}
