//! The lock that keeps `parta restore` and `parta recover` away from a PostgreSQL database that is served.
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use parta_database::{DatabaseLock, Db, StorageError};
use tokio_util::sync::CancellationToken;

use crate::{Service, Task};

/// The pause before another attempt while the database cannot be reached.
const PAUSE: Duration = Duration::from_secs(1);

/// Acquires the lock. While a command replaces the database, it is unavailable.
pub(crate) async fn acquire(db: &Db) -> Result<Option<DatabaseLock>, StorageError> {
    db.lock_to_serve().await.map_err(|error| match error {
        StorageError::Locked(_) => {
            StorageError::Unavailable("`parta restore` or `parta recover` is changing it".to_owned())
        }
        other => other,
    })
}

/// Returns the task that holds the lock, and acquires it again after its connection was lost. If a command
/// has it then, `replaced` is canceled, so that the process ends.
pub(crate) fn task(service: &Service, db: &Db, lock: DatabaseLock, replaced: &CancellationToken) -> Task {
    let held = Arc::new(Mutex::new(Some(lock)));
    Task::over(
        format!("{}.database_lock", service.section()),
        (db.clone(), held, replaced.clone()),
        |(db, held, replaced), cancel| async move {
            let lock = held.lock().unwrap_or_else(PoisonError::into_inner).take();
            keep(&db, lock, &replaced, &cancel).await;
            Ok(())
        },
    )
}

async fn keep(
    db: &Db,
    mut held: Option<DatabaseLock>,
    replaced: &CancellationToken,
    cancel: &CancellationToken,
) {
    loop {
        if let Some(mut lock) = held.take() {
            let lost = tokio::select! {
                () = cancel.cancelled() => None,
                error = lock.lost() => Some(error),
            };
            let Some(error) = lost else {
                return lock.release().await;
            };
            tracing::info!(service = db.service(), %error, "lock of the database lost, acquiring it again");
        }
        let acquired = tokio::select! {
            () = cancel.cancelled() => return,
            acquired = db.lock_to_serve() => acquired,
        };
        match acquired {
            Ok(lock) => held = lock,
            Err(StorageError::Locked(_)) => {
                tracing::error!(
                    service = db.service(),
                    "`parta restore` or `parta recover` is changing the database, stopping"
                );
                replaced.cancel();
                return cancel.cancelled().await;
            }
            Err(error) => {
                tracing::debug!(service = db.service(), %error, "lock of the database not acquired");
                tokio::select! {
                    () = cancel.cancelled() => return,
                    () = tokio::time::sleep(PAUSE) => {}
                }
            }
        }
    }
}
