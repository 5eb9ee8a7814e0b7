//! The organizations that workers take, in which order.
use std::{
    collections::{BTreeSet, HashMap, HashSet, VecDeque},
    time::Duration,
};

use parta_ids::OrgId;
use tokio::time::Instant;

/// The workers. They read the source at the same time. On SQLite, which has one writer, only one of them
/// writes at a time, so that requests do not wait behind all of them.
pub(crate) const WORKERS: usize = 4;
/// An organization with at most this many unapplied events goes before the others.
const SMALL: i64 = 64;
/// Largest number of organizations that a worker takes at once.
const GROUP_ORGANIZATIONS: usize = 32;
/// Largest number of unapplied events of organizations that a worker takes at once.
const GROUP_EVENTS: i64 = 256;

/// The work that a worker looks for first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lane {
    Small,
    Large,
}

#[derive(Debug, Default)]
pub(super) struct Queue {
    small: VecDeque<OrgId>,
    large: VecDeque<OrgId>,
    queued: HashSet<OrgId>,
    pub(super) running: HashSet<OrgId>,
    /// Organizations that became due again while a worker had them.
    pub(super) again: HashSet<OrgId>,
    pub(super) delayed: BTreeSet<(Instant, OrgId)>,
    /// The same organizations, and when each is due.
    due: HashMap<OrgId, Instant>,
    /// Organizations whose events cannot be applied, and which are tried again when nothing else is to do.
    last: VecDeque<OrgId>,
    pub(super) rejected: HashSet<OrgId>,
    /// Organizations for which the operator has requested something while a worker had them.
    pub(super) requested: HashSet<OrgId>,
    /// Organizations that a worker takes without others, because they need more than their next events.
    pub(super) alone: HashSet<OrgId>,
}

impl Queue {
    pub(super) fn push(&mut self, org_id: OrgId, lag: i64) {
        if self.running.contains(&org_id) {
            self.again.insert(org_id);
        } else if self.queued.insert(org_id) {
            let lane = if self.rejected.contains(&org_id) {
                &mut self.last
            } else if lag <= SMALL {
                &mut self.small
            } else {
                &mut self.large
            };
            lane.push_back(org_id);
        }
    }

    /// Puts an organization before all others.
    pub(super) fn push_first(&mut self, org_id: OrgId) {
        if self.running.contains(&org_id) {
            self.requested.insert(org_id);
        } else if self.queued.insert(org_id) {
            self.small.push_front(org_id);
        }
    }

    pub(super) fn delay(&mut self, org_id: OrgId, wait: Duration) {
        if !self.queued.contains(&org_id) && !self.due.contains_key(&org_id) {
            let due = Instant::now() + wait;
            self.due.insert(org_id, due);
            self.delayed.insert((due, org_id));
        }
    }

    /// Takes the next delayed organization that is due.
    pub(super) fn pop_due(&mut self, now: Instant) -> Option<OrgId> {
        let (due, org_id) = self.delayed.first().copied().filter(|(due, _)| *due <= now)?;
        self.delayed.remove(&(due, org_id));
        self.due.remove(&org_id);
        Some(org_id)
    }

    /// Takes the next organization. If few events of it are unapplied, others of which the same is true are
    /// taken with it, so that what they cost together is paid once.
    pub(super) fn pop(&mut self, lane: Lane, lag: impl Fn(OrgId) -> i64) -> Vec<OrgId> {
        let (first, second) = match lane {
            Lane::Small => (&mut self.small, &mut self.large),
            Lane::Large => (&mut self.large, &mut self.small),
        };
        let next = first.pop_front().or_else(|| second.pop_front());
        let Some(next) = next.or_else(|| self.last.pop_front()) else {
            return Vec::new();
        };
        let mut group = vec![next];
        let mut events = lag(next);
        let has_others =
            (0..=SMALL).contains(&events) && !self.alone.contains(&next) && !self.rejected.contains(&next);
        // The other workers get their part.
        let count = GROUP_ORGANIZATIONS.min(1 + self.small.len() / WORKERS);
        while has_others && group.len() < count {
            let Some(other) = self.small.front().copied() else {
                break;
            };
            events += lag(other);
            if self.alone.contains(&other) || lag(other) < 0 || events > GROUP_EVENTS {
                break;
            }
            self.small.pop_front();
            group.push(other);
        }
        for org_id in &group {
            self.queued.remove(org_id);
            self.running.insert(*org_id);
        }
        group
    }
}
