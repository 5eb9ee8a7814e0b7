use std::{
    any::{Any, TypeId},
    collections::HashMap,
    future::Future,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use parta_access::Secrets;
use parta_ids::Env;
use sea_orm::{ConnectionTrait, DbBackend, SqliteTransactionMode};
use sea_orm_migration::{MigrationTrait, MigratorTraitSelf, SchemaManager};
use tokio::sync::watch;

use crate::{
    Connection, DatabaseConfig, LogHead, PooledConnection, SqliteWriter, StorageError, Tx, WriteLock,
    connect::{self, Pools},
    head,
    lock::FileLock,
    schema::{Applied, SchemaState},
    tx::End,
};

const ATTEMPTS: u32 = 12;

/// The database of one service. Cheap to clone.
#[derive(Clone)]
pub struct Db(Arc<Inner>);

struct Inner {
    service: &'static str,
    env: Env,
    secrets: Secrets,
    pools: Pools,
    gate: WriteLock,
    events: watch::Sender<i64>,
    shared: Mutex<HashMap<TypeId, Arc<dyn Any + Send + Sync>>>,
    lock: Mutex<Option<FileLock>>,
}

impl AsRef<Db> for Db {
    fn as_ref(&self) -> &Db {
        self
    }
}

impl Db {
    /// Opens the database. On SQLite, it creates the file, locks it against other processes and verifies the
    /// settings. On PostgreSQL, it connects at the first use, so that a service can start before its
    /// database.
    pub async fn connect(
        config: &DatabaseConfig,
        service: &'static str,
        secrets: Secrets,
        env: Env,
    ) -> Result<Self, StorageError> {
        let mut pools = if config.is_postgres() {
            connect::postgres(config, service).await?
        } else if config.url.starts_with("sqlite:") {
            connect::sqlite(config).await?
        } else {
            return Err(StorageError::Config(
                "url must begin with sqlite: or postgres://".into(),
            ));
        };
        let gate = WriteLock::new(!config.is_postgres());
        let lock = Mutex::new(pools.lock.take());
        Ok(Self(Arc::new(Inner {
            service,
            env,
            secrets,
            pools,
            gate,
            events: watch::Sender::new(0),
            shared: Mutex::default(),
            lock,
        })))
    }

    /// Applies the pending migrations in one transaction, under a lock that the replicas share. If a newer
    /// build has migrated the schema, nothing is applied; whether this build may serve with it is then
    /// decided as in [`Db::check_schema`].
    ///
    /// On PostgreSQL, a statement that waits longer than three seconds for a table fails the migration with
    /// [`StorageError::Conflict`]: every query of the table would wait behind it. Nothing is applied then,
    /// and a later attempt can succeed.
    pub async fn migrate(&self, migrations: Vec<Box<dyn MigrationTrait>>) -> Result<(), StorageError> {
        let pass = self.0.gate.enter().await;
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
            // Not before: another replica that migrates may take longer.
            tx.execute_unprepared("SET LOCAL lock_timeout = '3s'").await?;
        }
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
                    return Ok(());
                }
            }
            Migrations(Mutex::new(migrations)).up(transaction, None).await?;
            head::ensure(&tx, self.env().ids.uuid()).await
        }
        .await;
        match tx.end(result, false).await {
            End::Done(()) => Ok(()),
            End::Failed(error) | End::Again(error) => Err(error),
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

    /// Returns the name of the service that owns the database.
    pub fn service(&self) -> &'static str {
        self.0.service
    }
    /// Returns the clock and the id source.
    pub fn env(&self) -> &Env {
        &self.0.env
    }
    /// Returns the master secret from which keys are derived.
    pub fn secrets(&self) -> &Secrets {
        &self.0.secrets
    }
    /// Returns the kind of the database.
    pub fn backend(&self) -> DbBackend {
        self.conn().get_database_backend()
    }
    /// Returns whether the database is PostgreSQL; otherwise it is SQLite.
    pub fn is_postgres(&self) -> bool {
        self.backend() == DbBackend::Postgres
    }
    /// Returns the connection for reads outside transactions. It is read-only.
    pub fn conn(&self) -> &Connection {
        &self.0.pools.reader
    }
    /// Returns the connection for writes. Prefer [`Db::write`]. Use this connection only where a transaction
    /// must stay open, as in tests; on SQLite, hold the lock of [`Db::write_gate`] meanwhile.
    pub fn writer(&self) -> &Connection {
        &self.0.pools.writer
    }
    /// Acquires a write connection for exclusive use by one caller. PostgreSQL only.
    pub async fn lease_writer(&self) -> Result<PooledConnection, StorageError> {
        let fault = || StorageError::Fault("only PostgreSQL connections can be leased".into());
        let cache = self.writer().cache().ok_or_else(fault)?;
        Ok(cache.take().await?)
    }
    /// Returns a dedicated connection for a hot path that writes to SQLite; `None` on PostgreSQL.
    pub fn sqlite_writer(&self) -> Option<SqliteWriter> {
        let file = self.0.pools.file.clone()?;
        Some(SqliteWriter::new(file, self.0.gate.clone()))
    }
    /// Returns the fair write lock that every writer of an SQLite file holds.
    pub fn write_gate(&self) -> &WriteLock {
        &self.0.gate
    }

    /// Notifies after events were committed here or, by way of the bus, in another replica. A hint only.
    pub fn event_hints(&self) -> watch::Receiver<i64> {
        self.0.events.subscribe()
    }
    /// Notifies the receivers that the event log has reached this position.
    pub fn hint_events(&self, position: i64) {
        self.0.events.send_if_modified(|known| {
            let news = position > *known;
            *known = (*known).max(position);
            news
        });
    }

    /// Returns the value of this type that all handles of this database share. It is created at the first
    /// call.
    pub fn shared<T: Default + Send + Sync + 'static>(&self) -> Arc<T> {
        let mut shared = self.0.shared.lock().unwrap_or_else(PoisonError::into_inner);
        let value = shared
            .entry(TypeId::of::<T>())
            .or_insert_with(|| Arc::<T>::default());
        // The type of the key is the type of the value.
        value.clone().downcast::<T>().unwrap_or_default()
    }

    /// Returns the committed head of the event log.
    pub async fn head(&self) -> Result<LogHead, StorageError> {
        head::read(self.conn()).await
    }

    /// Invalidates every cursor and token issued before. Required after a restore or a failover that lost
    /// data.
    pub async fn renew_incarnation(&self) -> Result<(), StorageError> {
        let incarnation = self.env().ids.uuid();
        self.write(|tx| async move { head::renew(&tx, incarnation).await })
            .await
    }

    async fn begin(&self) -> Result<Tx, StorageError> {
        let pass = self.0.gate.enter().await;
        let conn = self
            .writer()
            .begin_with(Some(SqliteTransactionMode::Immediate))
            .await?;
        Ok(Tx::new(conn, self, Some(pass)))
    }

    /// Runs `work` in a transaction and commits it on success. The closure may run several times.
    pub async fn write<T, E, F, Fut>(&self, work: F) -> Result<T, E>
    where
        F: Fn(Tx) -> Fut + Send,
        Fut: Future<Output = Result<T, E>> + Send,
        E: From<StorageError> + Send,
        T: Send,
    {
        self.transact(work, false).await
    }

    /// Runs `work` as [`Db::write`] does, and once more if the connection breaks while it is unknown whether
    /// the commit took effect. `work` must recognize that an earlier run took effect.
    pub async fn write_idempotent<T, E, F, Fut>(&self, work: F) -> Result<T, E>
    where
        F: Fn(Tx) -> Fut + Send,
        Fut: Future<Output = Result<T, E>> + Send,
        E: From<StorageError> + Send,
        T: Send,
    {
        self.transact(work, true).await
    }

    async fn transact<T, E, F, Fut>(&self, work: F, resumable: bool) -> Result<T, E>
    where
        F: Fn(Tx) -> Fut + Send,
        Fut: Future<Output = Result<T, E>> + Send,
        E: From<StorageError> + Send,
        T: Send,
    {
        let mut retry = Retry::default();
        loop {
            let tx = match self.begin().await {
                Ok(tx) => tx,
                Err(cause @ StorageError::Conflict(_)) => {
                    retry.pause(self, cause).await.map_err(E::from)?;
                    continue;
                }
                Err(error) => return Err(E::from(error)),
            };
            let result = work(tx.clone()).await;
            match tx.end(result, resumable).await {
                End::Done(value) => return Ok(value),
                End::Failed(error) => return Err(error),
                End::Again(cause) => retry.pause(self, cause).await.map_err(E::from)?,
            }
        }
    }

    /// Runs reads that all see the same snapshot of the database.
    pub async fn read<T, E, F, Fut>(&self, work: F) -> Result<T, E>
    where
        F: FnOnce(Tx) -> Fut + Send,
        Fut: Future<Output = Result<T, E>> + Send,
        E: From<StorageError> + Send,
        T: Send,
    {
        // On PostgreSQL, the transactions of the read pool are read-only snapshots by default.
        let conn = self
            .conn()
            .begin_with(Some(SqliteTransactionMode::Deferred))
            .await;
        let conn = conn.map_err(|e| E::from(StorageError::from(e)))?;
        let tx = Tx::new(conn, self, None);
        let result = work(tx.clone()).await;
        match tx.end(result, false).await {
            End::Done(value) => Ok(value),
            End::Failed(error) => Err(error),
            End::Again(error) => Err(E::from(error)),
        }
    }

    /// Closes the connections and unlocks the file for other processes.
    pub async fn close(&self) {
        for pool in [&self.0.pools.writer, &self.0.pools.reader] {
            if let Err(error) = pool.close().await {
                tracing::warn!(%error, "database close failed");
            }
        }
        self.0.lock.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

impl std::fmt::Debug for Db {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Db")
            .field("service", &self.0.service)
            .finish_non_exhaustive()
    }
}

/// Retries with exponential backoff and jitter after serialization failures.
#[derive(Default)]
struct Retry {
    lost: u32,
}

impl Retry {
    async fn pause(&mut self, db: &Db, cause: StorageError) -> Result<(), StorageError> {
        self.lost += 1;
        if self.lost >= ATTEMPTS {
            return Err(cause);
        }
        let mut chance = [0; 2];
        db.env().ids.fill(&mut chance);
        let ceiling = 4_u64 << self.lost.min(8);
        let wait = u64::from(u16::from_be_bytes(chance)) % ceiling;
        tracing::debug!(%cause, lost = self.lost, "transaction retried");
        tokio::time::sleep(Duration::from_millis(wait)).await;
        Ok(())
    }
}

struct Migrations(Mutex<Vec<Box<dyn MigrationTrait>>>);

impl MigratorTraitSelf for Migrations {
    // The migrator calls this once per run.
    fn migrations(&self) -> Vec<Box<dyn MigrationTrait>> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
