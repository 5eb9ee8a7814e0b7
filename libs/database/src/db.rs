use std::{
    any::{Any, TypeId},
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use parta_access::Secrets;
use parta_ids::{Env, OrgId};
use sea_orm::{ConnectionTrait, DbBackend};
use uuid::Uuid;

use crate::{
    Connection, DatabaseConfig, LogHead, PooledConnection, SqliteWriter, StorageError, WriteLock,
    connect::{self, Pools},
    head,
    lock::FileLock,
};

/// The database of one service. Cheap to clone.
#[derive(Clone)]
pub struct Db(Arc<Inner>);

struct Inner {
    service: &'static str,
    env: Env,
    secrets: Secrets,
    pools: Pools,
    write_lock: WriteLock,
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
            connect::postgres(config, service)?
        } else if config.url.starts_with("sqlite:") {
            connect::sqlite(config).await?
        } else {
            return Err(StorageError::Config(
                "url must begin with sqlite: or postgres://".into(),
            ));
        };
        let write_lock = WriteLock::new(!config.is_postgres());
        let lock = Mutex::new(pools.lock.take());
        Ok(Self(Arc::new(Inner {
            service,
            env,
            secrets,
            pools,
            write_lock,
            shared: Mutex::default(),
            lock,
        })))
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
    /// must stay open, as in tests; on SQLite, hold the lock of [`Db::write_lock`] meanwhile.
    pub fn writer(&self) -> &Connection {
        &self.0.pools.writer
    }
    /// Acquires a write connection for exclusive use by one caller. The server ends its statements after
    /// `limit`. PostgreSQL only.
    pub async fn lease_writer(&self, limit: Duration) -> Result<PooledConnection, StorageError> {
        let fault = || StorageError::Fault("only PostgreSQL connections can be leased".into());
        let cache = self.writer().cache().ok_or_else(fault)?;
        let mut leased = cache.take().await?;
        leased.limit_statements(limit).await?;
        Ok(leased)
    }
    /// Returns a dedicated connection for a hot path that writes to SQLite; `None` on PostgreSQL.
    pub fn sqlite_writer(&self) -> Option<SqliteWriter> {
        let file = self.0.pools.file.clone()?;
        Some(SqliteWriter::new(file, self.0.write_lock.clone()))
    }
    /// Returns the fair write lock that every writer of an SQLite file holds.
    pub fn write_lock(&self) -> &WriteLock {
        &self.0.write_lock
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

    /// Returns the committed head of the event log of an organization.
    pub async fn head(&self, org_id: OrgId) -> Result<LogHead, StorageError> {
        head::read(self.conn(), org_id).await
    }

    /// Returns the epoch of the event logs.
    pub async fn epoch(&self) -> Result<Uuid, StorageError> {
        head::epoch(self.conn()).await
    }

    /// Closes the connections and unlocks the file for other processes. On PostgreSQL, it waits at most
    /// `reply_timeout` for connections in use, so that a lost host does not hold up the end of a process.
    pub async fn close(&self) {
        let (writer, reader) = tokio::join!(self.0.pools.writer.close(), self.0.pools.reader.close());
        if let Err(error) = writer.and(reader) {
            tracing::warn!(%error, "database close failed");
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
