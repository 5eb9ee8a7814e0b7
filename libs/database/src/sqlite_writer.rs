use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::mpsc,
};

use rusqlite::{Connection, ErrorCode, Transaction, TransactionBehavior, ffi};
use sea_orm::DbErr;
use tokio::sync::oneshot;

use crate::{
    StorageError, WriteLock,
    connect::BUSY,
    error::{Class, class_of_sqlite},
};

/// A write that waits for the thread. The durable jobs of `libs/jobs` are another thing.
type Job = Box<dyn FnOnce(&mut Slot) + Send>;

/// An SQLite connection on a dedicated thread, for a hot path that writes many rows by prepared statements.
/// Through a pool, each statement would be a message to another thread and back. It holds the write lock like
/// every other writer.
///
/// The thread ends when the value is dropped. The connection is opened at the first use with the settings of
/// the pool.
pub struct SqliteWriter {
    jobs: mpsc::Sender<Job>,
    write_lock: WriteLock,
}

/// The connection of the thread, once it is open.
struct Slot {
    file: PathBuf,
    connection: Option<Connection>,
}

impl SqliteWriter {
    pub(crate) fn new(file: PathBuf, write_lock: WriteLock) -> Self {
        let (jobs, queue) = mpsc::channel::<Job>();
        let slot = Slot {
            file,
            connection: None,
        };
        let started = std::thread::Builder::new()
            .name("sqlite-writer".to_owned())
            .spawn(move || {
                let mut slot = slot;
                while let Ok(job) = queue.recv() {
                    job(&mut slot);
                }
            });
        if let Err(error) = started {
            // Every later use returns an error, because there is no writer.
            tracing::error!(%error, "writer thread failed to start");
        }
        Self { jobs, write_lock }
    }

    /// Runs `work` in a transaction and commits it on success. Work that has begun is completed even if the
    /// caller is dropped.
    pub async fn write<T, F>(&self, work: F) -> Result<T, StorageError>
    where
        T: Send + 'static,
        F: FnOnce(&Transaction<'_>) -> Result<T, rusqlite::Error> + Send + 'static,
    {
        let guard = self.write_lock.acquire().await;
        let (reply, outcome) = oneshot::channel();
        let job: Job = Box::new(move |slot| {
            let result = slot.write(work);
            drop(guard);
            // The caller may have been dropped.
            _ = reply.send(result);
        });
        let gone = || StorageError::Unavailable("the writer's thread has ended".into());
        self.jobs.send(job).map_err(|_| gone())?;
        outcome.await.unwrap_or_else(|_| Err(gone()))
    }
}

impl Slot {
    fn write<T>(
        &mut self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, rusqlite::Error>,
    ) -> Result<T, StorageError> {
        let connection = match &mut self.connection {
            Some(connection) => connection,
            closed => closed.insert(open(&self.file)?),
        };
        let run = AssertUnwindSafe(|| {
            let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let done = work(&tx)?;
            tx.commit()?;
            Ok::<_, rusqlite::Error>(done)
        });
        match catch_unwind(run) {
            Ok(result) => result.map_err(StorageError::from),
            // The transaction was rolled back when it was dropped; the thread continues.
            Err(_) => Err(StorageError::Fault("a write to the database panicked".into())),
        }
    }
}

/// Opens the file as the pool does and verifies that the settings that durability depends on are in force.
/// The number of FULL is 2.
fn open(file: &Path) -> Result<Connection, StorageError> {
    let connection = Connection::open(file)?;
    connection.busy_timeout(BUSY)?;
    connection.set_prepared_statement_cache_capacity(64);
    connection
        .execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON")?;
    let mode: String = connection.pragma_query_value(None, "journal_mode", |row| row.get(0))?;
    let synchronous: i64 = connection.pragma_query_value(None, "synchronous", |row| row.get(0))?;
    if mode != "wal" || synchronous != 2 {
        let found = format!("journal_mode is {mode} and synchronous is {synchronous}, must be wal and 2");
        return Err(StorageError::Config(found));
    }
    Ok(connection)
}

impl From<rusqlite::Error> for StorageError {
    fn from(error: rusqlite::Error) -> Self {
        let text = error.to_string();
        let rusqlite::Error::SqliteFailure(failure, message) = &error else {
            return Self::Fault(text);
        };
        match (failure.code, failure.extended_code) {
            (ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked, _) => Self::Conflict(text),
            (_, ffi::SQLITE_CONSTRAINT_UNIQUE | ffi::SQLITE_CONSTRAINT_PRIMARYKEY) => {
                let columns = message.as_deref().unwrap_or_default().rsplit("failed: ").next();
                Self::UniqueViolation {
                    constraint: columns.unwrap_or_default().to_owned(),
                }
            }
            (_, ffi::SQLITE_CONSTRAINT_FOREIGNKEY) => Self::ForeignKeyViolation {
                constraint: String::new(),
            },
            (_, code) if class_of_sqlite(code) == Class::Exhausted => Self::Exhausted(text),
            _ => Self::Database(DbErr::Custom(text)),
        }
    }
}
