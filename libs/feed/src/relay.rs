use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures::StreamExt;
use parta_database::{Db, LogHead};
use parta_ids::{OrgId, TypedId};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{Bus, heads::Heads};

const RESUBSCRIBE_AFTER: Duration = Duration::from_secs(5);
/// Largest number of heads that are announced before this replica looks for other work.
const BATCH: usize = 256;

/// Announces the heads that local commits have moved to the other replicas of the service, and notes those
/// that they announce. A lost announcement is covered by reading all heads once a second.
pub async fn hint_task(db: Db, bus: Arc<dyn Bus>, cancel: CancellationToken) {
    let subject = format!("parta.hint.{}", db.service());
    let heads = db.shared::<Heads>();
    let mut changed = heads.subscribe();
    // Commits before this task began are announced as well.
    changed.mark_changed();
    let mut announced = 0;
    while !cancel.is_cancelled() {
        let mut remote = match bus.subscribe(&subject).await {
            Ok(stream) => stream,
            Err(error) => {
                tracing::info!(%error, "hint subscription failed");
                tokio::select! {
                    () = cancel.cancelled() => return,
                    () = tokio::time::sleep(RESUBSCRIBE_AFTER) => continue,
                }
            }
        };
        loop {
            tokio::select! {
                () = cancel.cancelled() => return,
                hint = remote.next() => {
                    let Some(hint) = hint else { break };
                    if let Some((org_id, head)) = decode(&hint) {
                        heads.hinted(org_id, head);
                    }
                }
                changed = changed.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    announced = announce(&heads, bus.as_ref(), &subject, announced).await;
                }
            }
        }
    }
}

/// Announces what changed after a version, and returns the version up to which it is announced.
async fn announce(heads: &Heads, bus: &dyn Bus, subject: &str, announced: u64) -> u64 {
    let mut version = announced;
    loop {
        let changes = heads.own_after(version, BATCH);
        version = changes.version;
        if bus.reaches_replicas() {
            for (org_id, head) in &changes.heads {
                if let Err(error) = bus.publish(subject, encode(*org_id, head)).await {
                    tracing::debug!(%error, "hint not published");
                }
            }
        }
        if changes.heads.len() < BATCH {
            return version;
        }
    }
}

fn encode(org_id: OrgId, head: &LogHead) -> Bytes {
    let mut bytes = Vec::with_capacity(56);
    bytes.extend_from_slice(org_id.uuid().as_bytes());
    bytes.extend_from_slice(head.epoch.as_bytes());
    bytes.extend_from_slice(&head.position.to_be_bytes());
    bytes.extend_from_slice(head.event_id.as_bytes());
    bytes.into()
}

fn decode(hint: &[u8]) -> Option<(OrgId, LogHead)> {
    let hint: &[u8; 56] = hint.try_into().ok()?;
    let id = |at: usize| Uuid::from_slice(&hint[at..at + 16]).ok();
    let head = LogHead {
        epoch: id(16)?,
        position: i64::from_be_bytes(hint[32..40].try_into().ok()?),
        event_id: id(40)?,
    };
    Some((OrgId::from_uuid(id(0)?), head))
}
