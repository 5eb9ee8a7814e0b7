//! Deletes events that are older than the retention.
use std::collections::VecDeque;

use chrono::{DateTime, TimeDelta, Utc};
use parta_database::{Db, StorageError, Tx};
use sea_orm::{ConnectionTrait, Statement};
use uuid::Uuid;

/// The retention of events, in days. Older cursors have expired.
pub const RETENTION_DAYS: i64 = 30;
/// Largest number of events that one transaction deletes, so that no writer waits for long.
const TRANSACTION_EVENTS: u64 = 5_000;
/// Largest number of organizations whose events one transaction deletes, with a statement for each.
const TRANSACTION_ORGANIZATIONS: usize = 500;
/// Largest number of old events that one statement counts, so that it is far from the limit of statements.
const ROUND_EVENTS: u64 = 200_000;

/// Pulses of replicas that have ended are removed after this long.
const PULSE_RETENTION: TimeDelta = TimeDelta::days(1);

/// Deletes events that are older than the retention. The positions that remain in a log are dense. Deletes
/// the pulses of replicas that have ended, too.
pub async fn purge(db: &Db) -> Result<(), StorageError> {
    if db.is_postgres() {
        purge_pulses(db).await?;
    }
    let before = db.env().now() - TimeDelta::days(RETENTION_DAYS);
    let mut total = 0;
    loop {
        let deleted = purge_round(db, before).await?;
        total += deleted;
        // Events that are kept for a while longer may remain.
        if deleted == 0 {
            break;
        }
    }
    if total > 0 {
        tracing::info!(count = total, "events purged");
    }
    Ok(())
}

/// Deletes the pulses of replicas that have ended. A replica that lives renews its own every few seconds.
async fn purge_pulses(db: &Db) -> Result<(), StorageError> {
    let before = db.env().now() - PULSE_RETENTION;
    db.write(|tx| async move {
        let sql = "DELETE FROM feed_pulse WHERE pulse_time < $1";
        tx.execute_sql(sql, [before.into()]).await?;
        Ok(())
    })
    .await
}

/// Deletes the oldest events. Returns their number.
async fn purge_round(db: &Db, before: DateTime<Utc>) -> Result<u64, StorageError> {
    let mut waiting = count_old(db, before).await?;
    let mut total = 0;
    while !waiting.is_empty() {
        let batch = &next_batch(&mut waiting);
        total += db
            .write(|tx| async move {
                let mut deleted = 0;
                for (org_id, count) in batch {
                    deleted += delete_oldest(&tx, *org_id, *count, before).await?;
                }
                Ok::<_, StorageError>(deleted)
            })
            .await?;
    }
    Ok(total)
}

/// Takes the events of the next transaction: the organizations, and the number of events of each.
fn next_batch(waiting: &mut VecDeque<(Uuid, u64)>) -> Vec<(Uuid, u64)> {
    let (mut batch, mut room) = (Vec::new(), TRANSACTION_EVENTS);
    while room > 0
        && batch.len() < TRANSACTION_ORGANIZATIONS
        && let Some((org_id, count)) = waiting.pop_front()
    {
        let part = count.min(room);
        room -= part;
        batch.push((org_id, part));
        if count > part {
            waiting.push_front((org_id, count - part));
        }
    }
    batch
}

/// Returns the organizations of the oldest events before this time, in the order of their ids, with the
/// number of these events.
async fn count_old(db: &Db, before: DateTime<Utc>) -> Result<VecDeque<(Uuid, u64)>, StorageError> {
    let sql = format!(
        "SELECT old.org_id, COUNT(*) AS events FROM (SELECT org_id FROM event WHERE occur_time < $1 \
         ORDER BY occur_time LIMIT {ROUND_EVENTS}) old GROUP BY old.org_id ORDER BY old.org_id"
    );
    let statement = Statement::from_sql_and_values(db.backend(), sql, [before.into()]);
    let mut counts = VecDeque::new();
    for row in db.conn().query_all_raw(statement).await? {
        let events: i64 = row.try_get("", "events")?;
        counts.push_back((row.try_get("", "org_id")?, events.unsigned_abs()));
    }
    Ok(counts)
}

/// Deletes the first `count` events of a log that precede any event of the time to keep. An event can be
/// older than one before it, because its time is that of the begin of its transaction. It is kept until the
/// earlier one goes.
async fn delete_oldest(
    tx: &Tx,
    org_id: Uuid,
    count: u64,
    before: DateTime<Utc>,
) -> Result<u64, StorageError> {
    let sql = format!(
        "WITH oldest AS (SELECT position, occur_time FROM event WHERE org_id = $1 ORDER BY position LIMIT {count}) \
         DELETE FROM event WHERE org_id = $1 AND position < COALESCE(\
         (SELECT MIN(position) FROM oldest WHERE occur_time >= $2), (SELECT MAX(position) + 1 FROM oldest))"
    );
    Ok(tx.execute_sql(&sql, [org_id.into(), before.into()]).await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_have_a_limited_number_of_events_and_organizations() {
        let id = Uuid::from_u128;
        let mut waiting = VecDeque::from([(id(1), 3), (id(2), 12_000), (id(3), 4)]);
        let mut batches = Vec::new();
        while !waiting.is_empty() {
            batches.push(next_batch(&mut waiting));
        }
        let expected = [
            vec![(id(1), 3), (id(2), 4_997)],
            vec![(id(2), 5_000)],
            vec![(id(2), 2_003), (id(3), 4)],
        ];
        assert_eq!(batches, expected);
        let mut many: VecDeque<_> = (0..700).map(|n| (id(n), 1)).collect();
        assert_eq!(next_batch(&mut many).len(), TRANSACTION_ORGANIZATIONS);
        assert_eq!(many.len(), 200);
    }
}
