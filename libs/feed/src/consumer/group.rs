//! Applies the next events of many organizations that are little behind. The cost of a query for their
//! cursors, and of a commit of SQLite, is paid once. An organization that needs anything else is given back
//! and then taken by itself.
use std::time::Duration;

use futures::{StreamExt as _, stream};
use parta_database::StorageError;
use parta_ids::OrgId;
use tokio::time::Instant;

use super::{
    Consumer, Handler,
    apply::{self, Next, Stored},
    work::{PAGE, READ_LIMIT},
};
use crate::Source;

/// The readings of one worker at a time. More would take the connections of the source from its calls.
const READINGS: usize = 2;
/// An organization that is not applied after this time no longer holds those that follow it.
const PATIENCE: Duration = Duration::from_millis(100);

impl<S: Source, H: Handler<Event = S::Event>> Consumer<S, H> {
    /// Applies the next events of each organization of a group.
    pub(super) async fn process_group(&self, group: &[OrgId]) {
        let all = match self.load_group(group).await {
            Ok(all) => all,
            Err(error) => {
                tracing::debug!(consumer = self.name, %error, "cursors not loaded");
                return self.progress.put_back(group.iter().copied());
            }
        };
        let (plain, special): (Vec<_>, Vec<_>) = all.into_iter().partition(|(_, stored)| stored.is_plain());
        self.progress
            .put_back(special.into_iter().map(|(org_id, _)| org_id));
        let organizations: Vec<OrgId> = plain.iter().map(|(org_id, _)| *org_id).collect();
        let next = self.read_group(plain).await;
        let is_read = |org_id: &OrgId| next.iter().any(|next| next.org_id == *org_id);
        let unread = organizations.iter().filter(|org_id| !is_read(org_id));
        self.progress.put_back(unread.copied());
        let next = next.into_iter().filter(|next| !self.ends_here(next)).collect();
        if self.db.is_postgres() {
            self.apply_one_by_one(next).await;
        } else {
            self.apply_together(next).await;
        }
    }

    /// Loads the cursors, and inserts the rows of those that have none.
    async fn load_group(&self, group: &[OrgId]) -> Result<Vec<(OrgId, Stored)>, StorageError> {
        let all = apply::load_all(&self.db, self.name, group).await?;
        let new = all.iter().filter(|(_, stored)| !stored.has_row);
        let new: Vec<OrgId> = new.map(|(org_id, _)| *org_id).collect();
        apply::begin(&self.db, self.name, &new).await?;
        Ok(all)
    }

    /// Reads the next events of organizations. Those whose events cannot be read in time are left out.
    async fn read_group(&self, all: Vec<(OrgId, Stored)>) -> Vec<Next<S::Event>> {
        let readings = stream::iter(all).map(|(org_id, stored)| async move {
            let began = Instant::now();
            let batch = self.read(org_id, &stored, PAGE).await.ok()?;
            if batch.events.is_empty() {
                self.progress.read_to_end(batch.to.end, began);
            }
            let after = stored.cursor;
            Some(Next { org_id, after, batch })
        });
        readings
            .buffer_unordered(READINGS)
            .take_until(tokio::time::sleep(READ_LIMIT))
            .filter_map(std::future::ready)
            .collect()
            .await
    }

    /// Finishes with an organization of which no event follows, and returns whether it was one.
    fn ends_here(&self, next: &Next<S::Event>) -> bool {
        let (end, after) = (next.batch.to.end, next.after);
        let is_at_end = next.batch.events.is_empty() && (after == Some(end) || end.position == 0);
        if is_at_end {
            self.applied(next.org_id, after);
        }
        is_at_end
    }

    /// Applies the events of each organization in a transaction of its own, so that none waits for the locks
    /// of another one.
    async fn apply_one_by_one(&self, all: Vec<Next<S::Event>>) {
        let mut rest = all.into_iter();
        while let Some(next) = rest.next() {
            let applied = self.apply_batch(next.after, &next.batch, false);
            tokio::pin!(applied);
            let applied = tokio::select! {
                applied = &mut applied => applied,
                () = tokio::time::sleep(PATIENCE) => {
                    self.progress.put_back(rest.by_ref().map(|next| next.org_id));
                    applied.await
                }
            };
            match applied {
                Ok(cursor) => self.applied(next.org_id, cursor),
                Err(_) => self.progress.put_back([next.org_id]),
            }
        }
    }

    /// Applies the events of as many organizations in one transaction as is quick. SQLite has one writer, and
    /// its commit costs more than an event.
    async fn apply_together(&self, all: Vec<Next<S::Event>>) {
        let mut rest = all.as_slice();
        while !rest.is_empty() {
            let Ok(applied) = self.apply_some(rest).await else {
                return self.progress.put_back(rest.iter().map(|next| next.org_id));
            };
            rest = rest.get(applied.len()..).unwrap_or_default();
            for (org_id, cursor) in applied {
                self.applied(org_id, cursor);
            }
        }
    }
}
