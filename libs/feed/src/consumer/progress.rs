//! The progress of a consumer as this replica knows it: the heads of the source, the applied cursors, and
//! the organizations that are behind.
mod queue;
mod status;

use std::{
    collections::{HashMap, HashSet},
    sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
    time::Duration,
};

use parta_database::LogHead;
use parta_ids::OrgId;
use tokio::{sync::watch, time::Instant};
use uuid::Uuid;

use queue::Queue;
pub(super) use queue::{Lane, WORKERS};

use crate::Cursor;

/// An organization whose cursor is ahead of the known head is checked after this long: the replica of the
/// source that announces the heads may lag behind the one that was read.
const AHEAD: Duration = Duration::from_secs(3);

/// The progress of one consumer, shared by its tasks and by the calls that check how fresh its
/// projection is.
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
    /// The epochs in which logs were last read, and when the reading began.
    epochs: HashMap<OrgId, (Instant, Uuid)>,
    /// The organizations whose log a worker has just read to its end.
    at_end: HashSet<OrgId>,
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

/// The age of the projection of an organization.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Age {
    /// It was complete this long ago.
    Known(Duration),
    /// It was never complete since the start.
    Unknown,
    /// Its consumer has given up until the operator acts.
    Quarantined,
}

impl Default for Progress {
    fn default() -> Self {
        Self {
            known: RwLock::default(),
            changed: watch::Sender::new(0),
        }
    }
}

/// Returns the number of events after the cursor; below zero if the source has lost events.
fn lag(heads: &HashMap<OrgId, LogHead>, cursors: &HashMap<OrgId, Cursor>, org_id: OrgId) -> i64 {
    let head = heads.get(&org_id).map_or(0, |head| head.position);
    head - cursors.get(&org_id).map_or(0, |cursor| cursor.position)
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
        lag(&self.heads, &self.cursors, org_id)
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

    /// Notes that events were applied up to the cursor.
    fn pass_mark(&mut self, cursor: Cursor) {
        let Some(behind) = self.behind.get_mut(&cursor.org_id) else {
            return;
        };
        if let Some((at, _)) = behind
            .mark
            .take_if(|(_, head)| cursor.covers(head.epoch, head.position))
        {
            behind.fresh_until = Some(at);
        }
        // The cursor never covers a mark of an epoch that has ended; the next heartbeat makes another one.
        let epoch = self.heads.get(&cursor.org_id).map(|head| head.epoch);
        behind.mark.take_if(|(_, head)| Some(head.epoch) != epoch);
    }

    /// Puts an organization into the queue or takes it out, after its head or its cursor has changed.
    /// `is_at_end`: the log was just read and has nothing after the cursor.
    fn compare(&mut self, org_id: OrgId, is_at_end: bool) {
        if !self.is_behind(org_id) {
            self.behind.remove(&org_id);
            self.settle(org_id);
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
        // A head that the log does not reach was announced by a replica that has lost it, or that serves an
        // older history.
        if self.lag(org_id) < 0 || is_at_end {
            self.queue.delay(org_id, AHEAD);
        } else {
            let lag = self.lag(org_id);
            self.queue.push(org_id, lag);
        }
    }

    /// Whether an organization delays the readiness: its events up to the position are not applied, and no
    /// worker has failed to apply them.
    fn is_open(&self, org_id: OrgId, position: i64) -> bool {
        let applied = self.cursors.get(&org_id).map_or(0, |cursor| cursor.position);
        let is_tried = |behind: &Behind| !behind.is_quarantined && !behind.has_failed;
        applied < position && self.behind.get(&org_id).is_some_and(is_tried)
    }

    /// Notes at the first heartbeat which organizations are behind. Events that arrive later do not delay the
    /// readiness of a busy installation.
    fn begin_backlog(&mut self) {
        if self.backlog.is_some() {
            return;
        }
        let position = |org_id: &OrgId| self.heads.get(org_id).map_or(0, |head| head.position);
        let behind = self.behind.keys().map(|org_id| (*org_id, position(org_id)));
        let backlog: HashMap<OrgId, i64> = behind
            .filter(|(org_id, position)| self.is_open(*org_id, *position))
            .collect();
        self.is_complete = backlog.is_empty();
        self.backlog = Some(backlog);
    }

    /// Takes an organization out of the backlog when its events are applied or could not be. Looks at no
    /// other one: the backlog of a start may have tens of thousands.
    fn settle(&mut self, org_id: OrgId) {
        let position = self.backlog.as_ref().and_then(|all| all.get(&org_id)).copied();
        let is_settled = position.is_some_and(|position| !self.is_open(org_id, position));
        if is_settled && let Some(backlog) = &mut self.backlog {
            backlog.remove(&org_id);
            self.is_complete |= backlog.is_empty();
        }
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

    /// Returns the number of organizations that have events or had some.
    pub(super) fn organizations(&self) -> usize {
        let known = self.read();
        let announced = known.heads.iter().filter(|(_, head)| head.position > 0);
        let without_head = known
            .cursors
            .keys()
            .filter(|org_id| !known.heads.contains_key(org_id));
        announced.count() + without_head.count()
    }

    /// Returns the applied cursor of an organization.
    pub(crate) fn cursor(&self, org_id: OrgId) -> Option<Cursor> {
        self.read().cursors.get(&org_id).copied()
    }

    /// Returns whether a reading of the log that began after the time has shown that the log is in another
    /// epoch, or does not reach the position.
    pub(crate) fn is_void(&self, org_id: OrgId, epoch: Uuid, position: i64, since: Instant) -> bool {
        let known = self.read();
        let is_other = |(began, of): &(Instant, Uuid)| *began >= since && *of != epoch;
        let ends_before = |(began, end): &(Instant, Cursor)| {
            *began >= since && end.epoch == epoch && end.position < position
        };
        known.epochs.get(&org_id).is_some_and(is_other) || known.ends.get(&org_id).is_some_and(ends_before)
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
            known.compare(org_id, false);
        }
        if is_heartbeat {
            known.heartbeat = Some(Instant::now());
            known.mark();
            known.begin_backlog();
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
            known.compare(org_id, false);
        }
        known.begin_backlog();
        drop(known);
        self.notify();
    }

    /// Notes the epoch of the log or the snapshot that a reading has found, which began at the time.
    pub(super) fn read_in_epoch(&self, end: Cursor, began: Instant) {
        self.write().epochs.insert(end.org_id, (began, end.epoch));
    }

    /// Notes that a reading, which began at the time, has found no event after the cursor.
    pub(super) fn read_to_end(&self, cursor: Cursor, began: Instant) {
        let mut known = self.write();
        let head = LogHead {
            epoch: cursor.epoch,
            position: cursor.position,
            event_id: cursor.event_id,
        };
        // A later head may have been announced since the reading began, also one of another epoch. The head
        // of an epoch that was not announced yet will be.
        let is_later = |known: &LogHead| known.epoch == head.epoch && known.position < head.position;
        if known.heads.get(&cursor.org_id).is_none_or(is_later) {
            known.heads.insert(cursor.org_id, head);
        }
        known.ends.insert(cursor.org_id, (began, cursor));
        known.at_end.insert(cursor.org_id);
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

    /// Takes the next organizations that have work, and returns the time when a delayed one becomes due.
    pub(super) fn next(&self, lane: Lane) -> (Vec<OrgId>, Option<Instant>) {
        let mut known = self.write();
        let now = Instant::now();
        while let Some(org_id) = known.queue.pop_due(now) {
            let lag = known.lag(org_id);
            known.queue.push(org_id, lag);
        }
        let Known {
            queue,
            heads,
            cursors,
            ..
        } = &mut *known;
        let next = queue.pop(lane, |org_id| lag(heads, cursors, org_id));
        for org_id in &next {
            known.at_end.remove(org_id);
        }
        let due = known.queue.delayed.first().map(|(at, _)| *at);
        (next, due)
    }

    /// Gives back organizations that a worker has taken together with others. Each is next taken by
    /// itself.
    pub(super) fn put_back(&self, organizations: impl IntoIterator<Item = OrgId>) {
        let mut organizations = organizations.into_iter().peekable();
        if organizations.peek().is_none() {
            return;
        }
        let mut known = self.write();
        for org_id in organizations {
            known.queue.running.remove(&org_id);
            known.queue.again.remove(&org_id);
            known.queue.requested.remove(&org_id);
            known.queue.alone.insert(org_id);
            known.queue.push_first(org_id);
        }
        drop(known);
        self.notify();
    }

    /// Notes that a worker has finished with an organization. The cursor is that which is stored now.
    pub(super) fn finished(&self, org_id: OrgId, cursor: Option<Cursor>, outcome: Outcome) {
        let mut known = self.write();
        known.queue.running.remove(&org_id);
        known.queue.alone.remove(&org_id);
        let is_due = known.queue.again.remove(&org_id);
        let is_requested = known.queue.requested.remove(&org_id);
        // A head that was announced meanwhile is a reason to read again at once.
        let is_at_end = known.at_end.remove(&org_id) && !is_due;
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
        // A worker that could not begin has learned nothing about the events.
        let is_busy = matches!(outcome, Outcome::Busy(_));
        if matches!(outcome, Outcome::Rejected(_)) {
            known.queue.rejected.insert(org_id);
        } else if !is_busy {
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
        } else if let Some(behind) = known.behind.get_mut(&org_id).filter(|_| !is_busy) {
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
        if let (Outcome::Applied, Some(cursor)) = (outcome, cursor) {
            known.pass_mark(cursor);
        }
        if wait.is_none() {
            known.compare(org_id, is_at_end);
        }
        known.settle(org_id);
        drop(known);
        self.notify();
    }
}

/// The result of a worker for an organization.
#[derive(Debug, Clone, Copy)]
pub(super) enum Outcome {
    /// The stored cursor is known; if it is behind, the work continues.
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
