use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use parta_access::Principal;
use parta_ids::ServiceAccountId;
use parta_proto::{Method, status::v1::ErrorReason};
use parta_status::RpcError;

/// Open streams of one service account and one service. A system that follows a feed needs one, and another
/// while it reconnects.
const STREAMS_PER_ACCOUNT: usize = 16;

type Counts = Mutex<HashMap<(ServiceAccountId, &'static str), usize>>;

/// The open streams of service accounts, so that one account does not take those of a service. Cheap to
/// clone; clones share the counts.
#[derive(Clone, Default)]
pub(super) struct AccountStreams(Arc<Counts>);

impl AccountStreams {
    /// Counts a stream of a service account; `None` for other calls.
    pub(super) fn begin(
        &self,
        principal: &Principal,
        method: &Method,
    ) -> Result<Option<Box<AccountStream>>, RpcError> {
        let Principal::ServiceAccount { id, .. } = principal else {
            return Ok(None);
        };
        if !method.streaming {
            return Ok(None);
        }
        let key = (*id, method.owner);
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(key).or_default();
        if *count >= STREAMS_PER_ACCOUNT {
            let why = format!(
                "A service account may have {STREAMS_PER_ACCOUNT} open streams. End one, or try again later."
            );
            return Err(RpcError::new(ErrorReason::TooManyStreams, why).retry_after(Duration::from_secs(5)));
        }
        *count += 1;
        Ok(Some(Box::new(AccountStream {
            key,
            counts: self.0.clone(),
        })))
    }
}

/// A stream that is counted until it is dropped.
pub(crate) struct AccountStream {
    key: (ServiceAccountId, &'static str),
    counts: Arc<Counts>,
}

impl Drop for AccountStream {
    fn drop(&mut self) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.key);
            }
        }
    }
}
