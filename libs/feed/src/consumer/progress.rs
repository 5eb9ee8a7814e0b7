//! The progress of a consumer as this replica knows it: the heads of the source, the applied cursors, and
//! the organizations that are behind.
mod status;

use std::{
    collections::{BTreeSet, HashMap, HashSet, VecDeque},
    sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
    time::Duration,
};

use parta_database::LogHead;
use parta_ids::OrgId;
use tokio::{sync::watch, time::Instant};
use uuid::Uuid;

use crate::Cursor;

/// An organization with at most this many unapplied events goes before the others.
const SMALL: i64 = 64;
/// An organization whose cursor is ahead of the known head is checked after this long: the replica of the
/// source that announces the heads may lag behind the one that was read.
const AHEAD: Duration = Duration::from_secs(3);

/// The progress of one consumer, shared by its tasks and by those who ask how fresh its projection is.
#[derive(Debug)]
pub(crate) struct Progress {
    known: RwLock<Known>,
    changed: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Known {
    heads: HashMap<OrgId, LogHead>,
    cursors: HashMap<OrgId, Cursor>,
    /// The ends of logs that were read to their end, and when the reading began.
    ends: HashMap<OrgId, (Instant, Cursor)>,
    /// The organizations that have unapplied events.
    behind: HashMap<OrgId, Behind>,
    /// The time of the last heartbeat of the source. All heads are known up to it.
    heartbeat: Option<Instant>,
    /// The organizations whose source has not published an ending in time, and when it was due.
    overdue: HashMap<OrgId, Instant>,
    /// Whether the backlog that the first heartbeat has shown was applied.
    is_complete: bool,
    /// The organizations of that backlog and the positions of their heads; `None` before the first heartbeat.
    backlog: Option<HashMap<OrgId, i64>>,
    queue: Queue,
}

#[derive(Debug, Clone, Copy)]
struct Behind {
    /// The last heartbeat at which the projection of the organization was complete; `None` if it never was
    /// since the start.
    fresh_until: Option<Instant>,
    /// A heartbeat, and the head that it has shown. A projection that has applied the head was complete
    /// at the heartbeat, however many events have followed.
    mark: Option<(Instant, LogHead)>,
    is_quarantined: bool,
    /// Whether a worker has failed and will try again. Such an organization does not delay readiness.
    has_failed: bool,
}

#[derive(Debug, Default)]
struct Queue {
    small: VecDeque<OrgId>,
    large: VecDeque<OrgId>,
    queued: HashSet<OrgId>,
    running: HashSet<OrgId>,
    /// Organizations that became due again while a worker had them.
    again: HashSet<OrgId>,
    delayed: BTreeSet<(Instant, OrgId)>,
    /// The same organizations, and when each is due.
    due: HashMap<OrgId, Instant>,
    /// Organizations whose events cannot be applied, and which are tried again when nothing else is to do.
    last: VecDeque<OrgId>,
    rejected: HashSet<OrgId>,
    /// Organizations for which the operator has requested something while a worker had them.
    requested: HashSet<OrgId>,
}

/// How current the projection of an organization is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Age {
    /// It was complete this long ago.
    Known(Duration),
    /// It was never complete since the start.
    Unknown,
    /// Its consumer has given up until the operator acts.
    Quarantined,
}

/// The work that a worker looks for first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lane {
    Small,
    Large,
}

impl Default for Progress {
    fn default() -> Self {
        Self {
            known: RwLock::default(),
            changed: watch::Sender::new(0),
        }
    }
}

impl Known {
    fn is_behind(&self, org_id: OrgId) -> bool {
        let head = self.heads.get(&org_id).map(|head| Cursor::at(org_id, *head));
        match (head, self.cursors.get(&org_id)) {
            (None, None) => false,
            (Some(head), None) => head.position > 0,
            // The source has never announced this log: it lost it, or has not announced it yet.
            (None, Some(cursor)) => self.heartbeat.is_some() && cursor.position > 0,
            (Some(head), Some(cursor)) => head != *cursor,
        }
    }

    fn lag(&self, org_id: OrgId) -> i64 {
        let head = self.heads.get(&org_id).map_or(0, |head| head.position);
        let cursor = self.cursors.get(&org_id).map_or(0, |cursor| cursor.position);
        head - cursor
    }

    /// Marks the heads that a heartbeat has shown, where no earlier mark is open.
    fn mark(&mut self) {
        let Self {
            heads,
            behind,
            heartbeat,
            ..
        } = self;
        let Some(heartbeat) = *heartbeat else {
            return;
        };
        for (org_id, behind) in behind {
            if let Some(head) = heads.get(org_id) {
                behind.mark.get_or_insert((heartbeat, *head));
            }
        }
    }

    /// Puts an organization into the queue or takes it out, after its head or its cursor has changed.
    fn compare(&mut self, org_id: OrgId) {
        if !self.is_behind(org_id) {
            self.behind.remove(&org_id);
            return;
        }
        let fresh_until = self.heartbeat.filter(|_| self.is_complete);
        let entry = self.behind.entry(org_id).or_insert(Behind {
            fresh_until,
            mark: None,
            is_quarantined: false,
            has_failed: false,
        });
        if entry.is_quarantined || entry.has_failed {
            return;
        }
        // A cursor ahead of the head is mostly that of a quick reading through another replica of the source.
        if self.lag(org_id) < 0 {
            self.queue.delay(org_id, AHEAD);
        } else {
            let lag = self.lag(org_id);
            self.queue.push(org_id, lag);
        }
    }

    fn check_complete(&mut self) {
        if self.is_complete || self.heartbeat.is_none() {
            return;
        }
        let mut backlog = self.backlog.take().unwrap_or_else(|| {
            let heads = self.behind.keys();
            heads
                .map(|org_id| (*org_id, self.heads.get(org_id).map_or(0, |head| head.position)))
                .collect()
        });
        // Events that arrive later do not delay the readiness of a busy installation.
        backlog.retain(|org_id, position| {
            let applied = self.cursors.get(org_id).map_or(0, |cursor| cursor.position);
            let is_open = |behind: &Behind| !behind.is_quarantined && !behind.has_failed;
            applied < *position && self.behind.get(org_id).is_some_and(is_open)
        });
        self.is_complete = backlog.is_empty();
        self.backlog = Some(backlog);
    }
}

impl Queue {
    fn push(&mut self, org_id: OrgId, lag: i64) {
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
    fn push_first(&mut self, org_id: OrgId) {
        if self.running.contains(&org_id) {
            self.requested.insert(org_id);
        } else if self.queued.insert(org_id) {
            self.small.push_front(org_id);
        }
    }

    fn delay(&mut self, org_id: OrgId, wait: Duration) {
        if !self.queued.contains(&org_id) && !self.due.contains_key(&org_id) {
            let due = Instant::now() + wait;
            self.due.insert(org_id, due);
            self.delayed.insert((due, org_id));
        }
    }

    /// Takes the next delayed organization that is due.
    fn pop_due(&mut self, now: Instant) -> Option<OrgId> {
        let (due, org_id) = self.delayed.first().copied().filter(|(due, _)| *due <= now)?;
        self.delayed.remove(&(due, org_id));
        self.due.remove(&org_id);
        Some(org_id)
    }

    fn pop(&mut self, lane: Lane) -> Option<OrgId> {
        let (first, second) = match lane {
            Lane::Small => (&mut self.small, &mut self.large),
            Lane::Large => (&mut self.large, &mut self.small),
        };
        let next = first.pop_front().or_else(|| second.pop_front());
        let org_id = next.or_else(|| self.last.pop_front())?;
        self.queued.remove(&org_id);
        self.running.insert(org_id);
        Some(org_id)
    }
}

impl Progress {
    fn read(&self) -> RwLockReadGuard<'_, Known> {
        self.known.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Known> {
        self.known.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn notify(&self) {
        self.changed.send_modify(|count| *count += 1);
    }

    /// Notifies of every change.
    pub(crate) fn subscribe(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Returns how current the projection of the organization is.
    pub(crate) fn age(&self, org_id: OrgId) -> Age {
        let known = self.read();
        let complete_at = match known.behind.get(&org_id) {
            Some(behind) if behind.is_quarantined => return Age::Quarantined,
            Some(behind) => behind.fresh_until,
            None => known.heartbeat,
        };
        let due = known.overdue.get(&org_id).copied();
        complete_at.map_or(Age::Unknown, |at| {
            Age::Known(due.map_or(at, |due| due.min(at)).elapsed())
        })
    }

    /// Returns the applied cursor of an organization.
    pub(crate) fn cursor(&self, org_id: OrgId) -> Option<Cursor> {
        self.read().cursors.get(&org_id).copied()
    }

    /// Returns whether a reading of the log that began after the time has shown that the log does not reach
    /// the position.
    pub(crate) fn is_void(&self, org_id: OrgId, epoch: Uuid, position: i64, since: Instant) -> bool {
        let known = self.read();
        known
            .ends
            .get(&org_id)
            .is_some_and(|(began, end)| *began >= since && (end.epoch, end.position) < (epoch, position))
    }

    /// Returns whether the backlog of the start was applied.
    pub(crate) fn is_complete(&self) -> bool {
        self.read().is_complete
    }

    /// Looks for events of an organization although no head has announced them.
    pub(crate) fn hint(&self, org_id: OrgId) {
        let mut known = self.write();
        if known
            .behind
            .get(&org_id)
            .is_none_or(|behind| !behind.is_quarantined && !behind.has_failed)
        {
            let lag = known.lag(org_id);
            known.queue.push(org_id, lag);
            drop(known);
            self.notify();
        }
    }

    /// Looks at an organization before all others, because the operator has requested something for it.
    pub(crate) fn request(&self, org_id: OrgId) {
        self.write().queue.push_first(org_id);
        self.notify();
    }

    /// Notes the cursors that are stored.
    pub(super) fn load(&self, cursors: Vec<Cursor>) {
        let mut known = self.write();
        for cursor in cursors {
            known.cursors.insert(cursor.org_id, cursor);
        }
        drop(known);
        self.notify();
    }

    /// Notes the endings that are late at a heartbeat, and when each was due. Replaces the earlier ones.
    pub(super) fn overdue(&self, endings: HashMap<OrgId, Instant>) {
        self.write().overdue = endings;
    }

    /// Notes heads that the source has announced.
    pub(super) fn announced(&self, heads: Vec<(OrgId, LogHead)>, is_heartbeat: bool) {
        let mut known = self.write();
        for (org_id, head) in heads {
            known.heads.insert(org_id, head);
            known.compare(org_id);
        }
        if is_heartbeat {
            known.heartbeat = Some(Instant::now());
            known.mark();
            known.check_complete();
        }
        drop(known);
        self.notify();
    }

    /// Notes all heads of the source, after a new stream of them has begun. Logs that are not among them are
    /// gone.
    pub(super) fn announced_all(&self, heads: HashMap<OrgId, LogHead>) {
        let mut known = self.write();
        known.heads = heads;
        known.heartbeat = Some(Instant::now());
        let organizations: HashSet<OrgId> = known.heads.keys().chain(known.cursors.keys()).copied().collect();
        for org_id in organizations {
            known.compare(org_id);
        }
        known.check_complete();
        drop(known);
        self.notify();
    }

    /// Notes that a reading, which began at the time, has found no event after the cursor.
    pub(super) fn read_to_end(&self, cursor: Cursor, began: Instant) {
        let mut known = self.write();
        let head = LogHead {
            epoch: cursor.epoch,
            position: cursor.position,
            event_id: cursor.event_id,
        };
        // A later head may have been announced since the reading began.
        let place = |head: &LogHead| (head.epoch, head.position);
        if known
            .heads
            .get(&cursor.org_id)
            .is_none_or(|known| place(known) < place(&head))
        {
            known.heads.insert(cursor.org_id, head);
        }
        known.ends.insert(cursor.org_id, (began, cursor));
    }

    /// Gives back what workers had when their task ended by a panic.
    pub(super) fn restart(&self) {
        let mut known = self.write();
        let held: Vec<OrgId> = known.queue.running.drain().collect();
        for org_id in held {
            let lag = known.lag(org_id);
            known.queue.push(org_id, lag);
        }
    }

    /// Takes the next organization that has work, and returns the time when a delayed one becomes due.
    pub(super) fn next(&self, lane: Lane) -> (Option<OrgId>, Option<Instant>) {
        let mut known = self.write();
        let now = Instant::now();
        while let Some(org_id) = known.queue.pop_due(now) {
            let lag = known.lag(org_id);
            known.queue.push(org_id, lag);
        }
        let next = known.queue.pop(lane);
        let due = known.queue.delayed.first().map(|(at, _)| *at);
        (next, due)
    }

    /// Notes that a worker has finished with an organization. The cursor is that which is stored now.
    pub(super) fn finished(&self, org_id: OrgId, cursor: Option<Cursor>, outcome: Outcome) {
        let mut known = self.write();
        known.queue.running.remove(&org_id);
        let is_due = known.queue.again.remove(&org_id);
        let is_requested = known.queue.requested.remove(&org_id);
        match cursor {
            Some(cursor) => {
                known.cursors.insert(org_id, cursor);
            }
            None => {
                known.cursors.remove(&org_id);
            }
        }
        let (is_quarantined, wait) = match outcome {
            Outcome::Applied => (false, None),
            Outcome::Busy(wait) | Outcome::Failed(wait) | Outcome::Rejected(wait) => (false, Some(wait)),
            Outcome::Quarantined(wait) => (true, Some(wait)),
        };
        let has_failed = matches!(outcome, Outcome::Failed(_) | Outcome::Rejected(_));
        if matches!(outcome, Outcome::Rejected(_)) {
            known.queue.rejected.insert(org_id);
        } else {
            known.queue.rejected.remove(&org_id);
        }
        let fresh_until = known.heartbeat.filter(|_| known.is_complete);
        if has_failed || is_quarantined {
            let behind = known.behind.entry(org_id).or_insert(Behind {
                fresh_until,
                mark: None,
                is_quarantined,
                has_failed,
            });
            behind.is_quarantined = is_quarantined;
            behind.has_failed = has_failed;
        } else if let Some(behind) = known.behind.get_mut(&org_id) {
            behind.is_quarantined = false;
            behind.has_failed = false;
        }
        match wait {
            _ if is_requested => known.queue.push_first(org_id),
            Some(wait) => known.queue.delay(org_id, wait),
            None if is_due => {
                let lag = known.lag(org_id);
                known.queue.push(org_id, lag);
            }
            None => {}
        }
        // A cursor that failed may stand in a history that the log has lost: its position proves nothing.
        if let (Outcome::Applied, Some(cursor)) = (outcome, cursor)
            && let Some(behind) = known.behind.get_mut(&org_id)
            && let Some((at, _)) = behind
                .mark
                .take_if(|(_, head)| (cursor.epoch, cursor.position) >= (head.epoch, head.position))
        {
            behind.fresh_until = Some(at);
        }
        if wait.is_none() {
            known.compare(org_id);
        }
        known.check_complete();
        drop(known);
        self.notify();
    }
}

/// How a worker has finished with an organization.
#[derive(Debug, Clone, Copy)]
pub(super) enum Outcome {
    /// The stored cursor is known; if it is behind, the work goes on.
    Applied,
    /// Another replica works on the organization. Look again after a while.
    Busy(Duration),
    /// The work failed and is repeated after a while.
    Failed(Duration),
    /// The events can be applied neither one by one nor by a snapshot, and the organization is not
    /// quarantined. It is tried again after a long while, and after all other organizations.
    Rejected(Duration),
    /// The organization is quarantined. Look after a while whether it still is.
    Quarantined(Duration),
}

#[cfg(test)]
mod tests;
