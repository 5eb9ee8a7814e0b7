//! Brings the schema of a database to the state that the build requires.
use std::sync::{Mutex, PoisonError};

use sea_orm::{ConnectionTrait, SqliteTransactionMode};
use sea_orm_migration::{MigrationTrait, MigratorTraitSelf, SchemaManager};
use tokio::sync::oneshot;

use crate::{
    Db, StorageError, Tx, head,
    privileges::{self, grant},
    schema::{Applied, SchemaState},
    tx::End,
    watched_session::{self, WatchedSession},
};

impl Db {
    /// Applies the pending migrations in one transaction, under a lock that the replicas share. If a newer
    /// build has migrated the schema, nothing is applied; whether this build may serve with it is then
    /// decided as in [`Db::check_schema`].
    ///
    /// On PostgreSQL, a statement that waits longer than three seconds for a table fails the migration with
    /// [`StorageError::Conflict`]: every query of the table would wait behind it. Nothing is applied then,
    /// and a later attempt can succeed. A statement may take any time, and the wait for another replica that
    /// migrates too. If the server vanishes, the migration fails with [`StorageError::Unavailable`], by
    /// default within a minute; whether its commit took effect may then be unknown, and the next attempt
    /// shows it.
    pub async fn migrate(&self, migrations: Vec<Box<dyn MigrationTrait>>) -> Result<(), StorageError> {
        self.migrate_for(migrations, None).await
    }

    /// Does the same as [`Db::migrate`] as the owner of the schema, and grants the role that serves what it
    /// needs, in the same transaction. PostgreSQL only.
    pub async fn migrate_for(
        &self,
        migrations: Vec<Box<dyn MigrationTrait>>,
        serving: Option<&str>,
    ) -> Result<(), StorageError> {
        let Some(cache) = self.writer().cache() else {
            let guard = self.write_lock().acquire().await;
            let conn = self
                .writer()
                .begin_driver(Some(SqliteTransactionMode::Immediate))
                .await?;
            return self
                .apply(Tx::new(conn, self, Some(guard)), migrations, None)
                .await;
        };
        let opener = cache.opener();
        let (announce, session) = oneshot::channel();
        let applied = async {
            // The session is not known yet, and the server owes these replies at once.
            let limit = cache.acquire_timeout() + opener.reply_timeout();
            let begun = tokio::time::timeout(limit, async {
                let conn = self.writer().begin_driver(None).await?;
                let session = WatchedSession::of(&conn).await?;
                Ok::<_, StorageError>((conn, session))
            });
            let no_reply = |_| StorageError::Unavailable("the migration could not begin in time".into());
            let (conn, session) = begun.await.map_err(no_reply)??;
            // Without a receiver this work is not running either.
            let _ = announce.send(session);
            let tx = Tx::new(conn, self, None);
            tx.execute_unprepared("SET LOCAL statement_timeout = 0").await?;
            // All services use the same lock number, because each service has its own database.
            tx.execute_unprepared("SELECT pg_advisory_xact_lock(7305808869231650113)")
                .await?;
            // Not before: another replica that migrates may take longer.
            tx.execute_unprepared("SET LOCAL lock_timeout = '3s'").await?;
            self.apply(tx, migrations, serving).await
        };
        watched_session::unless_lost(opener, session, applied).await
    }

    /// Applies the pending migrations in a transaction, and ends it.
    async fn apply(
        &self,
        tx: Tx,
        migrations: Vec<Box<dyn MigrationTrait>>,
        serving: Option<&str>,
    ) -> Result<(), StorageError> {
        let result = async {
            let Some(transaction) = tx.transaction().driver() else {
                return Err(StorageError::Fault(
                    "migrations want a transaction of the driver's".into(),
                ));
            };
            if SchemaManager::new(transaction)
                .has_table("schema_requirement")
                .await?
            {
                let applied = Applied::read(transaction, &migrations).await?;
                applied.check_required()?;
                let newer = applied.newer();
                if let (Some(pending), Some(newer)) = (applied.pending().next(), newer.first()) {
                    return Err(StorageError::Schema(format!(
                        "{pending} is not applied, but {newer} of another version is; start that version"
                    )));
                }
                if applied.pending().next().is_none() {
                    return grant(transaction, serving).await;
                }
            }
            Migrations(Mutex::new(migrations)).up(transaction, None).await?;
            head::ensure(&tx, self.env().ids.uuid()).await?;
            grant(transaction, serving).await
        }
        .await;
        match tx.end(result, false).await {
            End::Done(()) => Ok(()),
            End::Failed(error) | End::LookAgain(error) | End::Again(error) | End::Unknown(error, _) => {
                Err(error)
            }
        }
    }

    /// Decides whether this build may serve with the schema: all of its migrations are applied, and no newer
    /// migration requires a newer build. Returns the newer migrations.
    pub async fn check_schema(
        &self,
        migrations: &[Box<dyn MigrationTrait>],
    ) -> Result<SchemaState, StorageError> {
        let applied = match Applied::read(self.conn(), migrations)
            .await
            .map_err(StorageError::from)
        {
            // The database is empty.
            Err(StorageError::Database(error)) => {
                return Err(StorageError::Schema(format!(
                    "{error}; run `parta migrate {}` first",
                    self.service()
                )));
            }
            other => other?,
        };
        applied.check(self.service())
    }

    /// Checks that the role of the connection may read and write the rows of all tables. On SQLite, the file
    /// has no roles.
    pub async fn check_privileges(&self) -> Result<(), StorageError> {
        if !self.is_postgres() {
            return Ok(());
        }
        let missing = privileges::missing(self.conn(), None).await?;
        let (Some(table), service) = (missing.first(), self.service()) else {
            return Ok(());
        };
        Err(StorageError::Schema(format!(
            "the role of database_url may not read and write {table} ({} of the tables are missing a grant); run `parta \
             migrate {service}` with database_migrate_url, which grants it",
            missing.len()
        )))
    }

    /// Begins a new epoch of the event logs: every cursor and consistency token issued before is void, and
    /// every consumer takes snapshots.
    pub async fn expire_cursors(&self) -> Result<(), StorageError> {
        let epoch = self.env().ids.uuid();
        self.write(|tx| async move { head::renew(&tx, epoch).await })
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
