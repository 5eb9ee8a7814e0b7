use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures::{
    FutureExt as _,
    future::{BoxFuture, Shared},
};
use parta_access::{MAX_REVOCATIONS, REVOCATION_LIFETIME, Revoked, Secrets};
use parta_database::{Db, StorageError};
use parta_status::RpcError;
use tokio::time::Instant;

use super::{
    model::RevocationList,
    storage::{self, Row},
};
use crate::{error::Error, service_accounts, sessions};

/// The maximum age of a list that was read for another caller.
const REREAD_AFTER: Duration = Duration::from_millis(500);

/// Reads the revocations, at most once in 500 ms for all callers of this process.
pub(crate) struct RevocationReader {
    db: Db,
    secrets: Secrets,
    /// The last reading. It belongs to no caller: one that gives up does not end it, and the next call
    /// continues it, so that a list is served however long its reading takes.
    pub(super) last: Mutex<Option<Reading>>,
}

/// A reading that is in progress or was completed.
#[derive(Clone)]
pub(super) struct Reading {
    pub(super) begun: Instant,
    list: Shared<BoxFuture<'static, Result<Arc<RevocationList>, RpcError>>>,
}

impl Reading {
    /// Begins a reading that the first caller drives.
    pub(super) fn begin(read: impl Future<Output = Result<RevocationList, Error>> + Send + 'static) -> Self {
        let list = read.map(|list| list.map(Arc::new).map_err(RpcError::from));
        Self {
            begun: Instant::now(),
            list: list.boxed().shared(),
        }
    }

    /// Whether a caller may have this list: it is being read, or its reading began a moment ago.
    fn is_current(&self) -> bool {
        match self.list.peek() {
            None => true,
            Some(Ok(_)) => self.begun.elapsed() < REREAD_AFTER,
            Some(Err(_)) => false,
        }
    }
}

impl RevocationReader {
    pub(crate) fn new(db: Db, secrets: Secrets) -> Self {
        let last = Mutex::default();
        Self { db, secrets, last }
    }

    /// Returns a list whose reading began at most 500 ms ago, or the one that is being read.
    pub(super) async fn current(&self) -> Result<Arc<RevocationList>, Error> {
        let reading = {
            let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
            match &*last {
                Some(reading) if reading.is_current() => reading.clone(),
                _ => {
                    let list = read(self.db.clone(), self.secrets.clone());
                    last.insert(Reading::begin(list)).clone()
                }
            }
        };
        Ok(reading.list.await?)
    }
}

/// Reads all rows of the last 15 minutes, by the clock of the database, as they were written. A cursor would
/// miss a commit that becomes visible after a later one.
async fn read(db: Db, secrets: Secrets) -> Result<RevocationList, Error> {
    // The list of a primary that was deposed would be the same for ever.
    parta_feed::require_commits(&db).await?;
    // One more than any process accepts, so that the excess is noticed.
    let rows = storage::list(&db, MAX_REVOCATIONS as u64 + 1).await?;
    let count = rows.len();
    let revoked = revoked(&secrets, rows);
    if count.max(revoked.len()) > MAX_REVOCATIONS {
        let why = format!(
            "{} revocations within 15 minutes: no service accepts so many",
            revoked.len()
        );
        return Err(RpcError::internal(why).into());
    }
    Ok(RevocationList::new(revoked))
}

/// Derives the ids under which join tickets and organizations know the sessions.
fn revoked(secrets: &Secrets, rows: Vec<Row>) -> Revoked {
    let mut revoked = Revoked::default();
    let mut ended = BTreeSet::new();
    for row in rows {
        let (session, member) = match row {
            Row::ServiceAccountKey(key) => {
                revoked.service_account_keys.push(key);
                continue;
            }
            Row::ReleasedRecord(session, member) => (session, Some(member)),
            Row::EndedSession(session, member) => {
                ended.insert(session);
                (session, member)
            }
        };
        let pairwise = |(org, member)| sessions::pairwise_session(secrets, session, org, member);
        revoked.sessions.extend(member.map(pairwise));
    }
    let joining = ended
        .into_iter()
        .map(|session| sessions::joining_session(secrets, session));
    revoked.sessions.extend(joining);
    revoked
}

/// Removes the rows of revocations whose tokens have all expired.
pub(crate) async fn purge(db: &Db) -> Result<u64, StorageError> {
    db.write(|tx| async move {
        let until = tx.database_now().await? - REVOCATION_LIFETIME;
        let sessions = sessions::purge_ended(&tx, until).await?;
        Ok(sessions + service_accounts::purge_revoked(&tx, until).await?)
    })
    .await
}
