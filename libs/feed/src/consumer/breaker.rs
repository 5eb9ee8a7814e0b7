use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use parta_ids::OrgId;
use tokio::time::Instant;

/// Within this time, this many organizations that fail have a common cause.
const WINDOW: Duration = Duration::from_mins(1);
const LIMIT: usize = 5;

/// Stops the quarantining when many organizations fail at once: the fault is then that of a build or of the
/// database, and closing more organizations would make it worse. Those quarantined before remain so.
///
/// An installation with fewer organizations has a common cause if all of them fail. With a single one, a
/// fault of the build looks like one of the organization, so that it is quarantined.
#[derive(Debug, Default)]
pub(super) struct Breaker(Mutex<HashMap<OrgId, Instant>>);

/// Returns the number of failing organizations at which quarantining stops, of all that the consumer has.
fn limit(organizations: usize) -> usize {
    organizations.clamp(2, LIMIT)
}

impl Breaker {
    /// The organizations whose failure counts, and until when.
    fn failures(&self) -> MutexGuard<'_, HashMap<OrgId, Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns whether no further organization would be quarantined, of all that the consumer has.
    pub(super) fn is_open(&self, organizations: usize) -> bool {
        let now = Instant::now();
        let failures = self.failures();
        let recent = failures.values().filter(|until| **until >= now);
        recent.count() >= limit(organizations)
    }

    /// Notes a failure and returns whether the organization may be quarantined.
    pub(super) fn allows(&self, org_id: OrgId, organizations: usize) -> bool {
        let mut failures = self.failures();
        let now = Instant::now();
        failures.retain(|_, until| *until >= now);
        failures.insert(org_id, now + WINDOW);
        failures.len() < limit(organizations)
    }

    /// Keeps the failure of an organization that is not quarantined until it is tried again. Otherwise, long
    /// waits between the attempts would make the failures look independent.
    pub(super) fn will_retry(&self, org_id: OrgId, wait: Duration) {
        self.failures().insert(org_id, Instant::now() + wait + WINDOW);
    }

    /// Forgets the failure of an organization whose events were applied.
    pub(super) fn succeeded(&self, org_id: OrgId) {
        self.failures().remove(&org_id);
    }
}

#[cfg(test)]
mod tests {
    use parta_ids::TypedId as _;
    use uuid::Uuid;

    use super::*;

    fn org(n: usize) -> OrgId {
        OrgId::from_uuid(Uuid::from_u128(n as u128))
    }

    /// All organizations of an installation fail within a minute, one after the other.
    #[test]
    fn common_fault_opens_also_a_small_installation() {
        parta_testkit::run_paused(async {
            for (organizations, quarantined, is_open) in [
                (1, 1, false),
                (2, 1, true),
                (3, 2, true),
                (4, 3, true),
                (5, 4, true),
                (6, 4, true),
                (1000, 4, true),
            ] {
                let breaker = Breaker::default();
                let allowed = (1..=organizations).filter(|n| breaker.allows(org(*n), organizations));
                assert_eq!(allowed.count(), quarantined, "of {organizations}");
                assert_eq!(breaker.is_open(organizations), is_open, "of {organizations}");
            }
        });
    }

    #[test]
    fn one_failing_organization_never_opens_it() {
        parta_testkit::run_paused(async {
            for organizations in [1, 2, 3, 1000] {
                let breaker = Breaker::default();
                for _ in 0..10 {
                    assert!(breaker.allows(org(1), organizations), "it counts once");
                    assert!(!breaker.is_open(organizations));
                }
            }
        });
    }

    #[test]
    fn failure_counts_for_a_minute_after_the_next_attempt() {
        parta_testkit::run_paused(async {
            let breaker = Breaker::default();
            // The clock of the runtime does not wait.
            for n in 1..=5 {
                assert_eq!(breaker.allows(org(n), 9), n < 5);
            }
            let wait = Duration::from_mins(5);
            for n in 4..=8 {
                breaker.will_retry(org(n), wait);
            }
            tokio::time::sleep(wait).await;
            assert!(breaker.is_open(9));
            assert!(!breaker.allows(org(4), 9), "the others have waited, too");
            breaker.succeeded(org(5));
            assert!(!breaker.is_open(9));
            tokio::time::sleep(WINDOW + Duration::from_secs(1)).await;
            assert!(breaker.allows(org(9), 9));
        });
    }
}
