//! The workers of a consumer: each takes an organization that is behind, and applies its next events.
use std::time::Duration;

use futures::{StreamExt, future::join_all};
use parta_database::StorageError;
use parta_ids::{EventId, OrgId, TypedId as _};
use parta_status::RpcError;
use tokio::time::Instant;
use tonic::{Code, Status};
use uuid::Uuid;

use super::{
    Consumer, Handler, QUIET_FAILURES,
    apply::{self, Batch, EncodedCursor, Failure, Stored},
    progress::{Lane, Outcome, WORKERS},
    quarantine::{self, Attempt, EVENTS_LOST, NO_SNAPSHOT, Rejection, Request},
};
use crate::{Cursor, FeedEvent as _, Snapshot, SnapshotItem, Source, log};

/// Largest number of events of one batch.
pub(super) const PAGE: i32 = 256;
/// The source returns the events of a read within this time, or the read is repeated.
pub(super) const READ_LIMIT: Duration = Duration::from_secs(5);
/// The source begins a snapshot within this time, and sends its next message within this time.
const SNAPSHOT_SILENCE: Duration = Duration::from_secs(15);
/// A snapshot arrives within this time.
const SNAPSHOT_LIMIT: Duration = Duration::from_mins(2);
/// Largest size of the encoded events of a snapshot: more than ten times that of 20,000 members.
const SNAPSHOT_MAX_BYTES: usize = 128 << 20;
/// An organization that needs a snapshot while others are read waits for this long.
const SNAPSHOT_BUSY: Duration = Duration::from_secs(1);
/// Waits between attempts on an organization whose events and snapshot cannot be applied, and which is not
/// quarantined because many others fail as well.
const REJECTED_FIRST: Duration = Duration::from_secs(2);
const REJECTED_MAX: Duration = Duration::from_mins(5);
/// Another replica that holds the cursor of an organization is done after about this time.
const LOCKED: Duration = Duration::from_millis(50);
/// A quarantine that the operator has ended is noticed after this time.
const QUARANTINE_CHECK: Duration = Duration::from_secs(2);

/// The reason why the events of an organization were not applied.
pub(super) enum Setback {
    /// Another replica works on the organization.
    Locked,
    /// Other snapshots are being read.
    Busy,
    /// A retry can succeed.
    Temporary(String),
    /// Only a snapshot can help.
    Expired,
    /// The source has lost events that were applied here. A snapshot could undo an ending.
    Lost,
    /// The events, or the snapshot, cannot be applied.
    Permanent(Rejection),
}

/// An attempt that did not fail.
struct Advanced {
    /// The stored cursor.
    cursor: Option<Cursor>,
    /// Whether no event follows.
    is_at_end: bool,
}

/// Returns the setback for events that cannot be applied and are not known one by one.
fn rejected(failure: impl Into<String>) -> Setback {
    Setback::Permanent(Rejection {
        event: None,
        failure: failure.into(),
    })
}

/// Decodes a cursor of the source.
fn encoded_cursor(org_id: OrgId, text: String) -> Result<EncodedCursor, Setback> {
    match Cursor::peek(&text).filter(|end| end.org_id == org_id) {
        Some(end) => Ok(EncodedCursor { text, end }),
        None => Err(rejected("the source returned an unknown cursor")),
    }
}

impl From<Failure> for Setback {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Locked => Self::Locked,
            Failure::Storage(error) => Self::Temporary(error.to_string()),
            Failure::Events(reason) => rejected(reason),
        }
    }
}

impl From<Status> for Setback {
    fn from(status: Status) -> Self {
        let text = format!("{:?}: {}", status.code(), status.message());
        // A status without a documented reason comes from the transport: the connection was lost.
        match (RpcError::from_status(&status), status.code()) {
            (Some(refusal), Code::OutOfRange) if log::names_a_loss(&refusal) => Self::Lost,
            (Some(_), Code::OutOfRange) => Self::Expired,
            // The source cannot read the events, for example because it does not know a stored value.
            (Some(_), Code::Internal | Code::InvalidArgument) => rejected(text),
            // The message is larger than the client takes. Fewer events fit.
            (None, Code::OutOfRange) => rejected(text),
            _ => Self::Temporary(text),
        }
    }
}

impl<S: Source, H: Handler<Event = S::Event>> Consumer<S, H> {
    /// Applies events for ever.
    pub(super) async fn work(&self) {
        self.progress.restart();
        join_all((0..WORKERS).map(|worker| self.work_as(worker))).await;
    }

    async fn work_as(&self, worker: usize) {
        let mut changed = self.progress.subscribe();
        let lane = if worker == 0 { Lane::Large } else { Lane::Small };
        loop {
            changed.mark_unchanged();
            let (next, due) = self.progress.next(lane);
            match next.as_slice() {
                [org_id] => self.process(*org_id).await,
                [_, ..] => self.process_group(&next).await,
                [] => {
                    let due = async {
                        match due {
                            Some(due) => tokio::time::sleep_until(due).await,
                            None => std::future::pending().await,
                        }
                    };
                    tokio::select! {
                        _ = changed.changed() => {}
                        () = due => {}
                    }
                }
            }
        }
    }

    /// Applies the next events of an organization, or its snapshot.
    async fn process(&self, org_id: OrgId) {
        let loaded = async {
            let stored = apply::load(&self.db, self.name, org_id).await?;
            if !stored.has_row {
                // Committed at once: another replica that does the same waits for no batch.
                apply::begin(&self.db, self.name, &[org_id]).await?;
            }
            Ok::<_, StorageError>(stored)
        };
        let stored = match loaded.await {
            Ok(stored) => stored,
            Err(error) => {
                let known = self.progress.cursor(org_id);
                let wait = self.failed(org_id, &error.to_string());
                return self.progress.finished(org_id, known, Outcome::Failed(wait));
            }
        };
        match stored.request {
            Request::None if stored.is_closed() => {
                let outcome = Outcome::Quarantined(QUARANTINE_CHECK);
                self.progress.finished(org_id, stored.cursor, outcome);
            }
            Request::Skip(event_id) => self.skip(org_id, &stored, event_id).await,
            Request::Rebuild => {
                self.resync(org_id, &stored, Rejection::because("a snapshot was requested"))
                    .await;
            }
            _ if stored.is_outdated() => {
                self.resync(org_id, &stored, Rejection::because("events of a new kind"))
                    .await;
            }
            _ => self.follow(org_id, &stored).await,
        }
    }

    /// Applies the next events of an organization, or its snapshot if they cannot be applied.
    async fn follow(&self, org_id: OrgId, stored: &Stored) {
        match self.advance(org_id, stored).await {
            Ok(advanced) if advanced.is_at_end && stored.request == Request::Correct => {
                self.correct(org_id, stored).await;
            }
            Ok(advanced) => {
                self.applied(org_id, advanced.cursor);
                if stored.request == Request::Correct {
                    self.progress.request(org_id);
                }
            }
            Err(Setback::Expired) => {
                self.resync(org_id, stored, Rejection::because("the cursor has expired"))
                    .await;
            }
            Err(Setback::Permanent(rejection)) => self.resync(org_id, stored, rejection).await,
            Err(other) => self.set_back(org_id, stored, other).await,
        }
    }

    /// Replaces the projection by a snapshot. Quarantines the organization if that fails too.
    async fn resync(&self, org_id: OrgId, stored: &Stored, cause: Rejection) {
        let (consumer, cause_text) = (self.name, &cause.failure);
        if stored.request == Request::Rebuild {
            tracing::info!(consumer, org.id = %org_id, "replacing a projection by the snapshot that was requested");
        } else {
            tracing::warn!(consumer, org.id = %org_id, cause = cause_text, "replacing a projection by a snapshot");
        }
        match self.replace(org_id, stored).await {
            Ok(cursor) => self.applied(org_id, cursor),
            Err(Setback::Permanent(snapshot)) => {
                self.give_up(org_id, stored, &cause, &snapshot.failure).await;
            }
            Err(other) => self.set_back(org_id, stored, other).await,
        }
    }

    /// Skips an event that the operator has named. The events that follow are applied next, then a snapshot.
    async fn skip(&self, org_id: OrgId, stored: &Stored, event_id: Uuid) {
        let skipped = async {
            let page = self.read(org_id, stored, 1).await?;
            let is_next = page
                .events
                .first()
                .is_some_and(|event| event.event_id() == EventId::from_uuid(event_id).to_string());
            if !is_next {
                // Another replica has skipped or applied it.
                self.clear_request(org_id, stored.request).await?;
                return Ok(stored.cursor);
            }
            tracing::warn!(consumer = self.name, org.id = %org_id, event.id = %EventId::from_uuid(event_id), "event skipped");
            Ok::<_, Setback>(self.apply_skip(stored.cursor, &page).await?)
        };
        match skipped.await {
            Ok(cursor) => {
                self.applied(org_id, cursor);
                self.progress.request(org_id);
            }
            Err(setback) => self.set_back(org_id, stored, setback).await,
        }
    }

    /// Takes the snapshot that follows a skipped event. If it cannot be applied, the effect of the event is
    /// missing, which the operator has accepted.
    async fn correct(&self, org_id: OrgId, stored: &Stored) {
        match self.replace(org_id, stored).await {
            Ok(cursor) => self.applied(org_id, cursor),
            Err(Setback::Permanent(snapshot)) => {
                tracing::warn!(
                    consumer = self.name,
                    org.id = %org_id,
                    cause = snapshot.failure,
                    "the snapshot after a skipped event failed"
                );
                match self.clear_request(org_id, stored.request).await {
                    Ok(()) => self.applied(org_id, stored.cursor),
                    Err(setback) => self.set_back(org_id, stored, setback).await,
                }
            }
            Err(other) => self.set_back(org_id, stored, other).await,
        }
    }

    /// Clears a request that was carried out. A later one, which the operator has made meanwhile, stays.
    async fn clear_request(&self, org_id: OrgId, done: Request) -> Result<(), Setback> {
        let cleared = self.db.write(|tx| async move {
            quarantine::set_request(&tx, self.name, org_id, Request::None, Some(done)).await
        });
        let cleared = cleared.await.map(drop);
        cleared.map_err(|error| Setback::Temporary(error.to_string()))
    }

    pub(super) fn applied(&self, org_id: OrgId, cursor: Option<Cursor>) {
        self.failures().remove(&org_id);
        self.breaker.succeeded(org_id);
        self.progress.finished(org_id, cursor, Outcome::Applied);
    }

    async fn set_back(&self, org_id: OrgId, stored: &Stored, setback: Setback) {
        let outcome = match setback {
            Setback::Lost => self.hold(org_id, stored).await,
            Setback::Locked => Outcome::Busy(LOCKED),
            Setback::Busy => Outcome::Busy(SNAPSHOT_BUSY),
            Setback::Temporary(reason) | Setback::Permanent(Rejection { failure: reason, .. }) => {
                Outcome::Failed(self.failed(org_id, &reason))
            }
            Setback::Expired => Outcome::Failed(self.failed(org_id, "the snapshot has expired")),
        };
        self.progress.finished(org_id, stored.cursor, outcome);
    }

    /// Notes a failure and returns the time to wait.
    fn failed(&self, org_id: OrgId, reason: &str) -> Duration {
        let failures = {
            let mut failures = self.failures();
            let failures = failures.entry(org_id).or_default();
            *failures = failures.saturating_add(1);
            *failures
        };
        if failures > QUIET_FAILURES {
            tracing::warn!(consumer = self.name, org.id = %org_id, cause = reason, failures, "events not applied");
        } else {
            tracing::debug!(consumer = self.name, org.id = %org_id, cause = reason, "events not applied");
        }
        self.backoff(failures)
    }

    /// Applies the next page. If one of its events cannot be read or applied, shorter pages apply those
    /// before it, until it is known which one it is.
    async fn advance(&self, org_id: OrgId, stored: &Stored) -> Result<Advanced, Setback> {
        let mut limit = PAGE;
        loop {
            match self.advance_by(org_id, stored, limit).await {
                Err((Setback::Permanent(_), count)) if count > 1 => limit = count / 2,
                Err((setback, _)) => return Err(setback),
                Ok(advanced) => return Ok(advanced),
            }
        }
    }

    /// Applies at most `limit` events. A setback is returned with the number of events that it concerns.
    async fn advance_by(
        &self,
        org_id: OrgId,
        stored: &Stored,
        limit: i32,
    ) -> Result<Advanced, (Setback, i32)> {
        let began = Instant::now();
        let batch = self
            .read(org_id, stored, limit)
            .await
            .map_err(|setback| (setback, limit))?;
        let is_at_end = batch.events.is_empty();
        if is_at_end {
            let end = batch.to.end;
            self.progress.read_to_end(end, began);
            // An event that could not be read or applied is gone, and its quarantine ends.
            let is_done = stored.failed_builds.is_none() || end.position == 0;
            if is_done && (stored.cursor == Some(end) || end.position == 0) {
                let cursor = stored.cursor;
                return Ok(Advanced { cursor, is_at_end });
            }
        }
        let is_quarantined = stored.failed_builds.is_some();
        match self.apply_batch(stored.cursor, &batch, is_quarantined).await {
            Ok(cursor) => Ok(Advanced { cursor, is_at_end }),
            Err(failure) => {
                let mut setback = Setback::from(failure);
                if let (Setback::Permanent(rejection), [event]) = (&mut setback, batch.events.as_slice()) {
                    let id = event.event_id().parse::<EventId>().ok();
                    rejection.event = id.map(|id| (id.uuid(), event.kind()));
                }
                Err((setback, i32::try_from(batch.events.len()).unwrap_or(PAGE)))
            }
        }
    }

    /// Reads at most `limit` events after the stored cursor.
    pub(super) async fn read(
        &self,
        org_id: OrgId,
        stored: &Stored,
        limit: i32,
    ) -> Result<Batch<S::Event>, Setback> {
        let began = Instant::now();
        let read = tokio::time::timeout(READ_LIMIT, self.source.read(org_id, &stored.text, limit)).await;
        let page = read.map_err(|_| Setback::Temporary("the source does not respond".into()))??;
        let to = encoded_cursor(org_id, page.cursor)?;
        self.progress.read_in_epoch(to.end, began);
        let events = page.events;
        Ok(Batch { events, to })
    }

    /// Reads and applies a snapshot. Returns the stored cursor.
    async fn replace(&self, org_id: OrgId, stored: &Stored) -> Result<Option<Cursor>, Setback> {
        let Ok(_permit) = self.snapshots.try_acquire() else {
            return Err(Setback::Busy);
        };
        let began = Instant::now();
        let read = tokio::time::timeout(SNAPSHOT_LIMIT, self.read_snapshot(org_id)).await;
        let (snapshot, cursor) =
            read.map_err(|_| Setback::Temporary("the snapshot takes too long".into()))??;
        let to = encoded_cursor(org_id, cursor)?;
        self.progress.read_in_epoch(to.end, began);
        self.require_history(stored, to.end).await?;
        let at = self
            .apply_snapshot(stored.cursor, stored.request, &snapshot, &to)
            .await?;
        tracing::info!(
            consumer = self.name,
            org.id = %org_id,
            events = snapshot.len(),
            bytes = snapshot.bytes(),
            position = to.end.position,
            "projection replaced"
        );
        Ok(at)
    }

    /// Refuses a snapshot of a source that has lost events which were applied here, unless the operator has
    /// requested it. The log is read after the snapshot, because the source may have lost them meanwhile.
    async fn require_history(&self, stored: &Stored, end: Cursor) -> Result<(), Setback> {
        let applied = stored.cursor.filter(|_| stored.request != Request::Rebuild);
        let Some(applied) = applied else {
            return Ok(());
        };
        // The log may be read by another replica of the source than the one that has read the snapshot.
        let is_same = applied.event_id == end.event_id;
        if end.position < applied.position || (end.position == applied.position && !is_same) {
            return Err(Setback::Lost);
        }
        match self.read(applied.org_id, stored, 1).await {
            Err(setback @ (Setback::Lost | Setback::Temporary(_))) => Err(setback),
            // The snapshot replaces events that were purged or cannot be read.
            _ => Ok(()),
        }
    }

    /// Reads the events of a snapshot and the cursor after it.
    async fn read_snapshot(&self, org_id: OrgId) -> Result<(Snapshot<S::Event>, String), Setback> {
        let silent = || Setback::Temporary("the source does not respond".into());
        let opened = tokio::time::timeout(SNAPSHOT_SILENCE, self.source.snapshot(org_id)).await;
        let mut stream = opened.map_err(|_| silent())??;
        let mut snapshot = Snapshot::default();
        loop {
            let item = tokio::time::timeout(SNAPSHOT_SILENCE, stream.next())
                .await
                .map_err(|_| silent())?;
            match item.ok_or_else(|| Setback::Temporary("the snapshot has no end".into()))?? {
                SnapshotItem::Event(event) => snapshot.push(&event),
                SnapshotItem::End { cursor } => return Ok((snapshot, cursor)),
            }
            if snapshot.bytes() > SNAPSHOT_MAX_BYTES {
                return Err(rejected("the snapshot is too large"));
            }
        }
    }

    /// Quarantines an organization whose snapshot could not be applied.
    async fn give_up(&self, org_id: OrgId, stored: &Stored, cause: &Rejection, reason: &str) {
        if !self.breaker.allows(org_id, self.progress.organizations()) {
            tracing::error!(
                consumer = self.name,
                org.id = %org_id,
                cause = reason,
                "events of many organizations fail, none is quarantined"
            );
            let wait = REJECTED_FIRST.max(self.failed(org_id, reason));
            let failures = self.failures().get(&org_id).copied().unwrap_or_default();
            let wait = (wait * 2_u32.saturating_pow(failures.min(16))).min(REJECTED_MAX);
            self.breaker.will_retry(org_id, wait);
            return self
                .progress
                .finished(org_id, stored.cursor, Outcome::Rejected(wait));
        }
        let position = stored.cursor.map_or(0, |cursor| cursor.position);
        tracing::error!(
            consumer = self.name,
            org.id = %org_id,
            position,
            cause = cause.failure,
            reason,
            "event handler failed, organization quarantined"
        );
        let outcome = self.quarantine(org_id, stored, cause, reason).await;
        self.progress.finished(org_id, stored.cursor, outcome);
    }

    /// Quarantines an organization whose source has lost events that were applied here, until the operator
    /// has repeated the endings among them. The breaker has no part in this: a failover concerns many
    /// organizations at once, and each would give access back that has ended.
    async fn hold(&self, org_id: OrgId, stored: &Stored) -> Outcome {
        let position = stored.cursor.map_or(0, |cursor| cursor.position);
        tracing::error!(
            consumer = self.name,
            org.id = %org_id,
            position,
            "the source has lost events, organization quarantined"
        );
        let cause = Rejection::because(EVENTS_LOST);
        self.quarantine(org_id, stored, &cause, NO_SNAPSHOT).await
    }

    async fn quarantine(&self, org_id: OrgId, stored: &Stored, cause: &Rejection, reason: &str) -> Outcome {
        let attempt = &Attempt {
            position: stored.cursor.map_or(0, |cursor| cursor.position),
            failed_builds: stored.failed_builds.as_deref().unwrap_or_default(),
            request: stored.request,
        };
        let put = self.db.write(|tx| async move {
            let at = apply::lock(&tx, self.name, org_id).await?;
            if at == stored.cursor {
                quarantine::put(&tx, self.name, org_id, attempt, cause, reason).await?;
            }
            Ok::<_, Failure>(at)
        });
        match put.await {
            Ok(at) if at == stored.cursor => Outcome::Quarantined(QUARANTINE_CHECK),
            // A replica of another build has applied the events, or does so now.
            Ok(_) | Err(Failure::Locked) => Outcome::Busy(LOCKED),
            Err(Failure::Storage(error)) => Outcome::Failed(self.failed(org_id, &error.to_string())),
            Err(Failure::Events(why)) => Outcome::Failed(self.failed(org_id, &why)),
        }
    }
}
