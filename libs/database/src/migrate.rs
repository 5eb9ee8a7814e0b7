//! Brings the schema of a database to the state that the build requires.
use std::sync::{Mutex, PoisonError};

use sea_orm::{ConnectionTrait, SqliteTransactionMode, Statement};
use sea_orm_migration::{MigrationTrait, MigratorTraitSelf};

use crate::{Db, StorageError, Tx, head, tx::End};

impl Db {
    /// Applies the pending migrations in one transaction, under a lock that the replicas share.
    pub async fn migrate(&self, migrations: Vec<Box<dyn MigrationTrait>>) -> Result<(), StorageError> {
        let pass = self.write_gate().enter().await;
        let conn = self
            .writer()
            .begin_driver(Some(SqliteTransactionMode::Immediate))
            .await?;
        let tx = Tx::new(conn, self, Some(pass));
        if self.is_postgres() {
            tx.execute_unprepared("SET LOCAL statement_timeout = 0").await?;
            // All services use the same lock number, because each service has its own database.
            tx.execute_unprepared("SELECT pg_advisory_xact_lock(7305808869231650113)")
                .await?;
        }
        let result = async {
            let Some(transaction) = tx.transaction().driver() else {
                return Err(StorageError::Fault(
                    "migrations want a transaction of the driver's".into(),
                ));
            };
            Migrations(Mutex::new(migrations)).up(transaction, None).await?;
            head::ensure(&tx, self.env().ids.uuid()).await
        }
        .await;
        match tx.end(result, false).await {
            End::Done(()) => Ok(()),
            End::Failed(error) | End::Again(error) => Err(error),
        }
    }

    /// Returns an error unless exactly these migrations are applied.
    pub async fn check_schema(&self, migrations: &[Box<dyn MigrationTrait>]) -> Result<(), StorageError> {
        let sql = "SELECT version FROM seaql_migrations";
        let rows = self
            .conn()
            .query_all_raw(Statement::from_string(self.backend(), sql))
            .await;
        let rows = match rows.map_err(StorageError::from) {
            Err(StorageError::Database(error)) => return Err(StorageError::Schema(error.to_string())),
            other => other?,
        };
        let mut applied = std::collections::BTreeSet::new();
        for row in rows {
            applied.insert(row.try_get_by_index::<String>(0)?);
        }
        for migration in migrations {
            if !applied.remove(migration.name()) {
                return Err(StorageError::Schema(format!(
                    "{} is not applied",
                    migration.name()
                )));
            }
        }
        match applied.first() {
            Some(unknown) => Err(StorageError::Schema(format!("{unknown} is of another release"))),
            None => Ok(()),
        }
    }

    /// Invalidates every cursor and token issued before. Required after a restore or a failover that lost
    /// data.
    pub async fn renew_incarnation(&self) -> Result<(), StorageError> {
        let incarnation = self.env().ids.uuid();
        self.write(|tx| async move { head::renew(&tx, incarnation).await })
            .await
    }
}

struct Migrations(Mutex<Vec<Box<dyn MigrationTrait>>>);

impl MigratorTraitSelf for Migrations {
    // The migrator calls this once per run.
    fn migrations(&self) -> Vec<Box<dyn MigrationTrait>> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
