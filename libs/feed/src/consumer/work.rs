//! The workers of a consumer: each takes an organization that is behind, and applies its next events.
use std::time::Duration;

use futures::{StreamExt, future::join_all};
use parta_database::StorageError;
use parta_ids::OrgId;
use parta_status::RpcError;
use tokio::time::Instant;
use tonic::{Code, Status};

use super::{
    Consumer, Handler, QUIET_FAILURES,
    apply::{self, Batch, Failure, Stored},
    progress::{Lane, Outcome},
    quarantine,
};
use crate::{Cursor, SnapshotItem, Source};

/// The workers. They read the source at the same time. On SQLite, which has one writer, only one of them
/// writes at a time, so that requests do not wait behind all of them.
const WORKERS: usize = 4;
/// The source answers a reading within this time, or is asked again.
const READ_LIMIT: Duration = Duration::from_secs(5);
/// The source begins a snapshot within this time, and sends its next message within this time.
const SNAPSHOT_SILENCE: Duration = Duration::from_secs(15);
/// A snapshot arrives within this time.
const SNAPSHOT_LIMIT: Duration = Duration::from_mins(2);
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

/// Why the events of an organization were not applied.
enum Setback {
    /// Another replica works on the organization.
    Locked,
    /// Other snapshots are being read.
    Busy,
    /// A retry can succeed.
    Temporary(String),
    /// Only a snapshot can help.
    Expired,
    /// The events, or the snapshot, cannot be applied.
    Permanent(String),
}

impl From<Failure> for Setback {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Locked => Self::Locked,
            Failure::Storage(error) => Self::Temporary(error.to_string()),
            Failure::Events(reason) => Self::Permanent(reason),
        }
    }
}

impl From<Status> for Setback {
    fn from(status: Status) -> Self {
        let text = format!("{:?}: {}", status.code(), status.message());
        // A status without a documented reason comes from the transport: the connection was lost.
        match (RpcError::from_status(&status), status.code()) {
            (Some(_), Code::OutOfRange) => Self::Expired,
            // The source cannot read the events, for example because it does not know a stored value.
            (Some(_), Code::Internal | Code::InvalidArgument) => Self::Permanent(text),
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
            match self.progress.next(lane) {
                (Some(org_id), _) => self.process(org_id).await,
                (None, due) => {
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
                apply::begin(&self.db, self.name, org_id).await?;
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
        if stored.is_quarantined {
            let outcome = Outcome::Quarantined(QUARANTINE_CHECK);
            return self.progress.finished(org_id, stored.cursor, outcome);
        }
        let first = self.advance(org_id, &stored).await;
        let setback = match first {
            Ok(cursor) => return self.applied(org_id, cursor),
            Err(Setback::Expired) => "the cursor has expired".to_owned(),
            Err(Setback::Permanent(reason)) => reason,
            Err(other) => return self.set_back(org_id, &stored, other),
        };
        tracing::warn!(consumer = self.name, org.id = %org_id, cause = setback, "replacing a projection by a snapshot");
        match self.replace(org_id, &stored).await {
            Ok(cursor) => self.applied(org_id, cursor),
            Err(Setback::Permanent(reason)) => self.give_up(org_id, &stored, &reason).await,
            Err(other) => self.set_back(org_id, &stored, other),
        }
    }

    fn applied(&self, org_id: OrgId, cursor: Option<Cursor>) {
        self.failures().remove(&org_id);
        self.progress.finished(org_id, cursor, Outcome::Applied);
    }

    fn set_back(&self, org_id: OrgId, stored: &Stored, setback: Setback) {
        let outcome = match setback {
            Setback::Locked => Outcome::Busy(LOCKED),
            Setback::Busy => Outcome::Busy(SNAPSHOT_BUSY),
            Setback::Temporary(reason) | Setback::Permanent(reason) => {
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

    /// Reads and applies the next page. Returns the stored cursor.
    async fn advance(&self, org_id: OrgId, stored: &Stored) -> Result<Option<Cursor>, Setback> {
        let began = Instant::now();
        let read = tokio::time::timeout(READ_LIMIT, self.source.read(org_id, &stored.text)).await;
        let page = read.map_err(|_| Setback::Temporary("the source does not answer".into()))??;
        let Some(end) = Cursor::peek(&page.cursor).filter(|end| end.org_id == org_id) else {
            return Err(Setback::Permanent("the source returned an unknown cursor".into()));
        };
        if page.events.is_empty() {
            self.progress.read_to_end(end, began);
            if stored.cursor == Some(end) || end.position == 0 {
                return Ok(stored.cursor);
            }
        }
        let batch = Batch {
            events: page.events,
            text: page.cursor,
            end,
        };
        Ok(self.apply_batch(stored.cursor, &batch).await?)
    }

    /// Reads and applies a snapshot. Returns the stored cursor.
    async fn replace(&self, org_id: OrgId, stored: &Stored) -> Result<Option<Cursor>, Setback> {
        let Ok(_permit) = self.snapshots.try_acquire() else {
            return Err(Setback::Busy);
        };
        let read = tokio::time::timeout(SNAPSHOT_LIMIT, self.read_snapshot(org_id)).await;
        let (events, text) =
            read.map_err(|_| Setback::Temporary("the snapshot takes too long".into()))??;
        let Some(end) = Cursor::peek(&text).filter(|end| end.org_id == org_id) else {
            return Err(Setback::Permanent("the source returned an unknown cursor".into()));
        };
        let snapshot = Batch { events, text, end };
        let at = self.apply_snapshot(stored.cursor, &snapshot).await?;
        tracing::info!(
            consumer = self.name,
            org.id = %org_id,
            events = snapshot.events.len(),
            position = end.position,
            "projection replaced"
        );
        Ok(at)
    }

    /// Reads the events of a snapshot and the cursor after it.
    async fn read_snapshot(&self, org_id: OrgId) -> Result<(Vec<S::Event>, String), Setback> {
        let silent = || Setback::Temporary("the source does not answer".into());
        let opened = tokio::time::timeout(SNAPSHOT_SILENCE, self.source.snapshot(org_id)).await;
        let mut stream = opened.map_err(|_| silent())??;
        let mut events = Vec::new();
        loop {
            let item = tokio::time::timeout(SNAPSHOT_SILENCE, stream.next())
                .await
                .map_err(|_| silent())?;
            match item.ok_or_else(|| Setback::Temporary("the snapshot has no end".into()))?? {
                SnapshotItem::Event(event) => events.push(event),
                SnapshotItem::End { cursor } => return Ok((events, cursor)),
            }
        }
    }

    /// Quarantines an organization whose snapshot could not be applied.
    async fn give_up(&self, org_id: OrgId, stored: &Stored, reason: &str) {
        if !self.breaker.allows(org_id) {
            tracing::error!(
                consumer = self.name,
                org.id = %org_id,
                cause = reason,
                "events of many organizations fail, none is quarantined"
            );
            let wait = REJECTED_FIRST.max(self.failed(org_id, reason));
            let failures = self.failures().get(&org_id).copied().unwrap_or_default();
            let wait = (wait * 2_u32.saturating_pow(failures.min(16))).min(REJECTED_MAX);
            return self
                .progress
                .finished(org_id, stored.cursor, Outcome::Rejected(wait));
        }
        let position = stored.cursor.map_or(0, |cursor| cursor.position);
        tracing::error!(consumer = self.name, org.id = %org_id, position, reason, "event handler failed, organization quarantined");
        let put = self
            .db
            .write(|tx| async move { quarantine::put(&tx, self.name, org_id, position, reason).await });
        let outcome = match put.await {
            Ok(()) => Outcome::Quarantined(QUARANTINE_CHECK),
            Err(error) => Outcome::Failed(self.failed(org_id, &error.to_string())),
        };
        self.progress.finished(org_id, stored.cursor, outcome);
    }
}
