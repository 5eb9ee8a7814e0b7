use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use parta_database::Db;
use tokio_util::sync::CancellationToken;

use crate::Bus;

const RESUBSCRIBE_AFTER: Duration = Duration::from_secs(5);

/// Notifies the other replicas of a service after local commits, and wakes this replica after theirs. Lost
/// hints are covered by the polling of every reader once a second.
pub async fn hint_task(db: Db, bus: std::sync::Arc<dyn Bus>, cancel: CancellationToken) {
    let subject = format!("parta.hint.{}", db.service());
    let mut local = db.event_hints();
    let mut received = 0;
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
                    let Ok(bytes) = <[u8; 8]>::try_from(hint.as_ref()) else { continue };
                    let position = i64::from_be_bytes(bytes);
                    received = received.max(position);
                    db.hint_events(position);
                }
                changed = local.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    let position = *local.borrow_and_update();
                    // Positions received from the bus are not published again.
                    if position > received && let Err(error) = bus.publish(&subject, Bytes::copy_from_slice(&position.to_be_bytes())).await {
                        tracing::debug!(%error, "hint not published");
                    }
                }
            }
        }
    }
}
