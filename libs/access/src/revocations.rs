use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};
use parta_ids::{ServiceAccountKeyId, SessionId, TypedId as _, Uuid};
use parta_status::{RpcError, stale};
use tokio::{
    sync::{Notify, watch},
    time::Instant,
};

use crate::{
    Principal,
    tokens::{LEEWAY, MAX_TOKEN_LIFETIME},
};

/// The time for which membership lists a revocation: 15 minutes. It is longer than the lifetime of
/// every token of the session, by a reserve for the differences between the clocks of the replicas.
pub const REVOCATION_LIFETIME: TimeDelta =
    TimeDelta::seconds(MAX_TOKEN_LIFETIME.num_seconds() + LISTED_LONGER.num_seconds());
const LISTED_LONGER: TimeDelta = TimeDelta::minutes(5);
/// The time for which a process remembers a revocation. The token was issued at most one leeway after
/// now, and is valid for one lifetime and one leeway.
const REMEMBERED: TimeDelta = TimeDelta::seconds(MAX_TOKEN_LIFETIME.num_seconds() + 2 * LEEWAY.num_seconds());
const _: () = assert!(
    REVOCATION_LIFETIME.num_seconds() > REMEMBERED.num_seconds(),
    "a process that starts learns each revocation whose tokens live"
);

/// Maximum number of revocations in one response of membership, which bounds the memory of every
/// process.
pub const MAX_REVOCATIONS: usize = 1_000_000;
/// The age of the last response after which credentials that could have been revoked are refused.
const MAX_AGE: Duration = Duration::from_secs(30);
/// The longest wait of a call for the first response, while the process starts.
const MAX_WAIT: Duration = Duration::from_secs(2);

/// The credentials whose tokens are refused before they expire.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Revoked {
    /// Sessions by their pairwise ids, which organizations know.
    pub sessions: Vec<SessionId>,
    /// Keys of service accounts. A revoked account is listed by its keys.
    pub service_account_keys: Vec<ServiceAccountKeyId>,
}

impl Revoked {
    /// Returns the number of revocations.
    pub fn len(&self) -> usize {
        self.sessions.len() + self.service_account_keys.len()
    }

    /// Returns whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn ids(&self) -> impl Iterator<Item = Uuid> {
        let sessions = self.sessions.iter().map(|id| id.uuid());
        sessions.chain(self.service_account_keys.iter().map(|id| id.uuid()))
    }
}

/// A response of membership that no process can remember.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("membership lists {0} revocations, more than {MAX_REVOCATIONS}")]
pub struct TooManyRevocations(usize);

/// The revocations that a process knows, and the streams that wait for one.
pub(crate) struct Revocations {
    /// The end of each entry by the id of the session or the key.
    known: RwLock<HashMap<Uuid, DateTime<Utc>>>,
    /// The time when the last response was requested; `None` before the first.
    latest_response: watch::Sender<Option<Instant>>,
    /// Whether a response is needed to accept a credential.
    polled: bool,
    /// The open streams by the id of their session or key.
    streams: Arc<Mutex<HashMap<Uuid, Streams>>>,
}

struct Streams {
    count: usize,
    revoked: Arc<Notify>,
}

/// Returns the id by which a principal is revoked; `None` if its credential cannot be revoked.
fn revocable(principal: &Principal) -> Option<Uuid> {
    match principal {
        Principal::Account { session_id, .. }
        | Principal::Person { session_id, .. }
        | Principal::Joiner { session_id, .. } => Some(session_id.uuid()),
        Principal::ServiceAccount { key_id, .. } => Some(key_id.uuid()),
        _ => None,
    }
}

impl Revocations {
    pub(crate) fn new(polled: bool) -> Self {
        Self {
            known: RwLock::default(),
            latest_response: watch::Sender::default(),
            polled,
            streams: Arc::default(),
        }
    }

    /// Adds revocations and ends their streams.
    pub(crate) fn add(&self, revoked: &Revoked, now: DateTime<Utc>) {
        {
            let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
            known.retain(|_, until| *until > now);
            known.extend(revoked.ids().map(|id| (id, now + REMEMBERED)));
        }
        let streams = streams(&self.streams);
        for open in revoked.ids().filter_map(|id| streams.get(&id)) {
            open.revoked.notify_waiters();
        }
    }

    /// Records a response of membership that was requested at `requested_at`. `None` means that the list is
    /// the same as in the last response.
    pub(crate) fn record(
        &self,
        requested_at: Instant,
        list: Option<&Revoked>,
        now: DateTime<Utc>,
    ) -> Result<(), TooManyRevocations> {
        if let Some(list) = list {
            if list.len() > MAX_REVOCATIONS {
                return Err(TooManyRevocations(list.len()));
            }
            self.add(list, now);
        }
        self.latest_response.send_replace(Some(requested_at));
        Ok(())
    }

    pub(crate) fn contains(&self, principal: &Principal, now: DateTime<Utc>) -> bool {
        let Some(id) = revocable(principal) else {
            return false;
        };
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known.get(&id).is_some_and(|until| now < *until)
    }

    /// Refuses a credential that could have been revoked if the last response is older than 30 s.
    pub(crate) fn require_current(&self, principal: &Principal) -> Result<(), RpcError> {
        if !self.polled || revocable(principal).is_none() {
            return Ok(());
        }
        match *self.latest_response.borrow() {
            Some(requested_at) if requested_at.elapsed() <= MAX_AGE => Ok(()),
            _ => Err(stale("membership")),
        }
    }

    /// Waits for the first response if the credential could have been revoked, for 2 s at most.
    pub(crate) async fn known_soon(&self, principal: &Principal) {
        if self.polled && revocable(principal).is_some() && !self.is_known() {
            // Without a response, the caller is refused afterwards.
            let _first = tokio::time::timeout(MAX_WAIT, self.known()).await;
        }
    }

    pub(crate) fn is_known(&self) -> bool {
        self.latest_response.borrow().is_some()
    }

    pub(crate) fn known(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut latest_response = self.latest_response.subscribe();
        async move {
            if latest_response.wait_for(Option::is_some).await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    pub(crate) fn watch(&self, principal: &Principal) -> RevocationWatch {
        let entry = revocable(principal).map(|id| {
            let mut streams = streams(&self.streams);
            let open = streams.entry(id).or_insert_with(|| Streams {
                count: 0,
                revoked: Arc::default(),
            });
            open.count += 1;
            Watched {
                id,
                revoked: open.revoked.clone(),
                streams: self.streams.clone(),
            }
        });
        RevocationWatch(entry)
    }
}

fn streams(of: &Mutex<HashMap<Uuid, Streams>>) -> MutexGuard<'_, HashMap<Uuid, Streams>> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits for the revocation of the caller of one open stream. Only the streams of a revoked caller wake.
pub struct RevocationWatch(Option<Watched>);

struct Watched {
    id: Uuid,
    revoked: Arc<Notify>,
    streams: Arc<Mutex<HashMap<Uuid, Streams>>>,
}

impl RevocationWatch {
    /// Returns the future of the next revocation. A revocation between this call and the first poll is not
    /// missed.
    pub fn revoked(&self) -> impl Future<Output = ()> + Send + use<> {
        let revoked = self
            .0
            .as_ref()
            .map(|watched| watched.revoked.clone().notified_owned());
        async move {
            match revoked {
                Some(revoked) => revoked.await,
                None => std::future::pending().await,
            }
        }
    }
}

impl fmt::Debug for RevocationWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RevocationWatch").finish_non_exhaustive()
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        let mut streams = streams(&self.streams);
        if let Some(open) = streams.get_mut(&self.id) {
            open.count -= 1;
            if open.count == 0 {
                streams.remove(&self.id);
            }
        }
    }
}
