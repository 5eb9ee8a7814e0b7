//! Runs work in transactions and retries it.
use std::{future::Future, time::Duration};

use sea_orm::SqliteTransactionMode;

use crate::{
    Db, StorageError, Tx,
    tx::{End, UnknownCommits},
};

const ATTEMPTS: u32 = 12;

impl Db {
    async fn begin(&self) -> Result<Tx, StorageError> {
        let guard = self.write_lock().acquire().await;
        let conn = self
            .writer()
            .begin_with(Some(SqliteTransactionMode::Immediate))
            .await?;
        Ok(Tx::new(conn, self, Some(guard)))
    }

    /// Runs `work` in a transaction and commits it on success. The closure may run several times: after a
    /// conflict, and once more after a unique violation. So `work` looks for a row and inserts it if there is
    /// none; if another transaction inserts it in between, the second run finds it.
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
        let mut has_looked_again = false;
        let mut unknown = UnknownCommits {
            db: self,
            steps: Vec::new(),
        };
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
                End::LookAgain(_) if !has_looked_again => has_looked_again = true,
                End::Failed(error) | End::LookAgain(error) => return Err(error),
                End::Again(cause) => retry.pause(self, cause).await.map_err(E::from)?,
                End::Unknown(cause, steps) => {
                    unknown.steps.extend(steps);
                    retry.pause(self, cause).await.map_err(E::from)?;
                }
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
            End::Failed(error) | End::LookAgain(error) => Err(error),
            End::Again(error) | End::Unknown(error, _) => Err(E::from(error)),
        }
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
