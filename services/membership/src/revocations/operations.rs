use std::{sync::Arc, time::Duration};

use parta_access::{MAX_REVOCATIONS, REVOCATION_LIFETIME, Revoked, Secrets};
use parta_database::{Db, StorageError};
use parta_status::RpcError;
use tokio::{sync::Mutex, time::Instant};

use super::model::RevocationList;
use crate::{error::Error, service_accounts, sessions};

/// How old a list may be that was read for another caller.
const REREAD_AFTER: Duration = Duration::from_millis(500);

/// Reads the revocations, at most once in 500 ms for all callers of this process.
pub(crate) struct RevocationReader {
    db: Db,
    secrets: Secrets,
    /// The last list, and when its reading began. Locked while one caller reads, so that the others wait for
    /// that list.
    last: Mutex<Option<(Instant, Arc<RevocationList>)>>,
}

impl RevocationReader {
    pub(crate) fn new(db: Db, secrets: Secrets) -> Self {
        let last = Mutex::default();
        Self { db, secrets, last }
    }

    /// Returns a list whose reading began at most 500 ms ago.
    pub(super) async fn current(&self) -> Result<Arc<RevocationList>, Error> {
        let mut last = self.last.lock().await;
        if let Some((begun, list)) = &*last
            && begun.elapsed() < REREAD_AFTER
        {
            return Ok(list.clone());
        }
        let begun = Instant::now();
        let list = Arc::new(self.read().await?);
        *last = Some((begun, list.clone()));
        Ok(list)
    }

    /// Reads all rows of the last 15 minutes. A cursor would miss a commit that becomes visible after a later
    /// one.
    async fn read(&self) -> Result<RevocationList, Error> {
        let read = self.db.read(|tx| async move {
            let since = tx.now() - REVOCATION_LIFETIME;
            let limit = MAX_REVOCATIONS as u64 + 1;
            Ok::<_, Error>(Revoked {
                sessions: sessions::list_revoked(&tx, &self.secrets, since).await?,
                service_accounts: service_accounts::list_revoked(&tx, since, limit).await?,
            })
        });
        let revoked = read.await?;
        if revoked.len() > MAX_REVOCATIONS {
            let why = format!(
                "{} revocations within 15 minutes: no service accepts so many",
                revoked.len()
            );
            return Err(RpcError::internal(why).into());
        }
        Ok(RevocationList::new(revoked))
    }
}

/// Removes the rows of revocations whose tokens have all expired.
pub(crate) async fn purge(db: &Db) -> Result<u64, StorageError> {
    db.write(|tx| async move {
        let until = tx.now() - REVOCATION_LIFETIME;
        let sessions = sessions::purge_ended(&tx, until).await?;
        Ok(sessions + service_accounts::purge_revoked(&tx, until).await?)
    })
    .await
}
