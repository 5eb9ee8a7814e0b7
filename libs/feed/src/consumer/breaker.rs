use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use parta_ids::OrgId;
use tokio::time::Instant;

/// Within this time, this many organizations that fail have a common cause.
const WINDOW: Duration = Duration::from_mins(1);
const LIMIT: usize = 5;

/// Stops the quarantining when many organizations fail at once: the fault is then that of a build or of the
/// database, and closing more organizations would make it worse. Those quarantined before remain so.
#[derive(Debug, Default)]
pub(super) struct Breaker(Mutex<VecDeque<(Instant, OrgId)>>);

impl Breaker {
    /// Returns whether no further organization would be quarantined.
    pub(super) fn is_open(&self) -> bool {
        let failures = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let recent = failures
            .iter()
            .filter(|(at, _)| now.duration_since(*at) <= WINDOW);
        recent.count() >= LIMIT
    }

    /// Notes a failure and returns whether the organization may be quarantined.
    pub(super) fn allows(&self, org_id: OrgId) -> bool {
        let mut failures = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        while failures
            .front()
            .is_some_and(|(at, _)| now.duration_since(*at) > WINDOW)
        {
            failures.pop_front();
        }
        failures.retain(|(_, failed)| *failed != org_id);
        failures.push_back((now, org_id));
        failures.len() < LIMIT
    }
}

#[cfg(test)]
mod tests {
    use parta_ids::TypedId as _;
    use uuid::Uuid;

    use super::*;

    #[test]
    fn fifth_failing_organization_is_not_quarantined() {
        parta_testkit::run_paused(async {
            let breaker = Breaker::default();
            let org = |n| OrgId::from_uuid(Uuid::from_u128(n));
            for n in 1..=4 {
                assert!(breaker.allows(org(n)));
                assert!(breaker.allows(org(n)), "one organization counts once");
            }
            assert!(!breaker.allows(org(5)));
            // The clock of the runtime does not wait. An organization that fails again counts from then on.
            tokio::time::sleep(WINDOW / 2).await;
            for n in 1..=4 {
                assert!(!breaker.allows(org(n)));
            }
            tokio::time::sleep(WINDOW / 2 + Duration::from_secs(1)).await;
            assert!(!breaker.allows(org(6)));
            tokio::time::sleep(WINDOW + Duration::from_secs(1)).await;
            assert!(breaker.allows(org(7)));
        });
    }
}
