//! Keeps the processes that serve a PostgreSQL database apart from commands that replace it. An SQLite file
//! is locked when it is opened.
//!
//! Invariant: while a command holds the lock, no process that serves has it. A process that has lost the
//! connection of its lock may write until it notices that, at most [`HEARTBEAT`] and one deadline of a reply
//! later.
use std::time::Duration;

use sea_orm::{
    DbErr, RuntimeErr,
    sqlx::{self, AssertSqlSafe, Connection as _, Executor as _, PgConnection},
};

use crate::{Db, StorageError, session::reply_within};

/// A command waits this long for processes that are exiting.
const COMMAND_WAIT: Duration = Duration::from_secs(2);
/// A process waits for longer than a command does, so that a command that will be refused does not end it.
const SERVICE_WAIT: Duration = Duration::from_secs(3);
/// The interval between two proofs that the connection of the lock lives.
const HEARTBEAT: Duration = Duration::from_secs(2);
/// The code of PostgreSQL for a lock that was not available in time.
const LOCK_NOT_AVAILABLE: &str = "55P03";
/// The lock of one schema. The first number is that of this lock among those of Parta.
const KEY: &str = "1886544993, hashtext(coalesce(current_schema(), ''))";

/// The lock of a PostgreSQL database, on a connection of its own, until it is released or dropped.
#[derive(Debug)]
pub struct DatabaseLock {
    connection: PgConnection,
    reply_timeout: Duration,
}

impl Db {
    /// Acquires the lock of a process that serves the database, together with the other processes that serve
    /// it; `None` on SQLite. Fails with [`StorageError::Locked`] while a command has it.
    pub async fn lock_to_serve(&self) -> Result<Option<DatabaseLock>, StorageError> {
        self.lock_database("pg_advisory_lock_shared", SERVICE_WAIT).await
    }

    /// Acquires the lock of a command that replaces the database; `None` on SQLite. Fails with
    /// [`StorageError::Locked`] while a process serves the database, or another command has the lock.
    pub async fn lock_to_replace(&self) -> Result<Option<DatabaseLock>, StorageError> {
        self.lock_database("pg_advisory_lock", COMMAND_WAIT).await
    }

    async fn lock_database(
        &self,
        function: &str,
        wait: Duration,
    ) -> Result<Option<DatabaseLock>, StorageError> {
        let Some(cache) = self.writer().cache() else {
            return Ok(None);
        };
        let opener = cache.opener();
        let mut lock = DatabaseLock {
            connection: opener.open().await.map_err(failed)?,
            reply_timeout: opener.reply_timeout(),
        };
        let sql = format!(
            "SET lock_timeout = {}; SELECT {function}({KEY})",
            wait.as_millis()
        );
        match reply_within(
            wait + lock.reply_timeout,
            lock.connection.execute(AssertSqlSafe(sql)),
        )
        .await
        {
            Ok(_) => Ok(Some(lock)),
            Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some(LOCK_NOT_AVAILABLE) => Err(
                StorageError::Locked(format!("the database of {}", self.service())),
            ),
            Err(error) => Err(failed(error)),
        }
    }
}

impl DatabaseLock {
    /// Returns an error if the connection was lost, and the lock with it.
    pub async fn check(&mut self) -> Result<(), StorageError> {
        let reply = reply_within(self.reply_timeout, self.connection.ping());
        reply.await.map_err(failed)
    }

    /// Waits until the connection is lost, and the lock with it. Returns the cause.
    pub async fn lost(&mut self) -> StorageError {
        loop {
            tokio::time::sleep(HEARTBEAT).await;
            if let Err(error) = self.check().await {
                return error;
            }
        }
    }

    /// Releases the lock.
    pub async fn release(self) {
        // The server releases the lock of a connection that is gone.
        let _closed = reply_within(self.reply_timeout, self.connection.close()).await;
    }
}

fn failed(error: sqlx::Error) -> StorageError {
    DbErr::Conn(RuntimeErr::SqlxError(error.into())).into()
}
