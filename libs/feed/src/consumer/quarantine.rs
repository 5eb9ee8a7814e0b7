//! Organizations whose events cannot be applied, and the requests of the operator for them.
use std::sync::{Mutex, OnceLock, PoisonError};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use parta_database::{CommitStep, Db, StorageError, Tx};
use parta_ids::{EventId, OrgId, TypedId};
use sea_orm::{ConnectionTrait, QueryResult, Statement, Value};
use uuid::Uuid;

use super::registry::consumers;

/// The cause of a quarantine in [`QuarantinedOrganization::event_failure`]: the source has lost events that
/// the consumer has applied. Its present state may grant what the lost events have ended.
pub const EVENTS_LOST: &str = "the source has lost events that were applied here";
/// The reason why no snapshot was taken then.
pub(super) const NO_SNAPSHOT: &str = "none was taken: it could grant again what the lost events have ended";

/// An organization whose events a consumer could not apply. Its cursor stays; the log of the source keeps the
/// events.
#[derive(Debug, Clone)]
pub struct QuarantinedOrganization {
    /// The name of the consumer.
    pub consumer: String,
    /// The organization.
    pub org_id: OrgId,
    /// The position of the last event that was applied.
    pub position: i64,
    /// The event that could not be applied; `None` if the source could not read it.
    pub event_id: Option<EventId>,
    /// The kind of the event; empty if it is not known.
    pub event_kind: String,
    /// The reason why the event could not be applied.
    pub event_failure: String,
    /// The reason why a snapshot could not be applied.
    pub snapshot_failure: String,
    /// The time when it was quarantined.
    pub quarantine_time: DateTime<Utc>,
}

/// A request of the operator for an organization.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Request {
    #[default]
    None,
    /// Take a snapshot.
    Rebuild,
    /// Skip this event if it is the next one.
    Skip(Uuid),
    /// An event was skipped. Take a snapshot after the events that follow it.
    Correct,
}

impl Request {
    /// Decodes the columns of a cursor; `None` if there is no row. A number that this build does not know is
    /// refused: carrying on would drop what the operator has requested with a newer build.
    pub(super) fn decode(number: Option<i16>, event_id: Option<Uuid>) -> Result<Self, StorageError> {
        match (number, event_id) {
            (None | Some(0), _) => Ok(Self::None),
            (Some(1), _) => Ok(Self::Rebuild),
            (Some(2), Some(event_id)) => Ok(Self::Skip(event_id)),
            (Some(3), _) => Ok(Self::Correct),
            (Some(number), _) => Err(StorageError::unknown_value("feed_cursor.request", number)),
        }
    }

    fn encode(self) -> (i16, Option<Uuid>) {
        match self {
            Self::None => (0, None),
            Self::Rebuild => (1, None),
            Self::Skip(event_id) => (2, Some(event_id)),
            Self::Correct => (3, None),
        }
    }
}

/// Returns a name of this build. Two builds of one version differ by the size and the time of their program.
pub(super) fn build() -> &'static str {
    static BUILD: OnceLock<String> = OnceLock::new();
    BUILD.get_or_init(|| {
        let program = std::env::current_exe().and_then(std::fs::metadata);
        let (size, time) = program.map_or((0, 0), |of| {
            let changed = of.modified().unwrap_or(std::time::UNIX_EPOCH);
            let age = changed.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
            (of.len(), age.as_secs())
        });
        format!("{}-{size:x}-{time:x}", env!("CARGO_PKG_VERSION"))
    })
}

const COLUMNS: &str = "consumer, org_id, position, event_id, event_kind, event_failure, snapshot_failure, \
                       quarantine_time";

fn decode(row: &QueryResult) -> Result<QuarantinedOrganization, StorageError> {
    let event_id: Option<Uuid> = row.try_get("", "event_id")?;
    Ok(QuarantinedOrganization {
        consumer: row.try_get("", "consumer")?,
        org_id: OrgId::from_uuid(row.try_get("", "org_id")?),
        position: row.try_get("", "position")?,
        event_id: event_id.map(EventId::from_uuid),
        event_kind: row.try_get("", "event_kind")?,
        event_failure: row.try_get("", "event_failure")?,
        snapshot_failure: row.try_get("", "snapshot_failure")?,
        quarantine_time: row.try_get("", "quarantine_time")?,
    })
}

/// Returns at most `limit` organizations that the consumers of this database have quarantined, after one of
/// them.
pub async fn list_quarantined(
    conn: &impl ConnectionTrait,
    after: Option<(OrgId, String)>,
    limit: u64,
) -> Result<Vec<QuarantinedOrganization>, StorageError> {
    let (org_id, consumer) = after.unwrap_or((OrgId::from_uuid(Uuid::nil()), String::new()));
    let sql = format!(
        "SELECT {COLUMNS} FROM feed_quarantine WHERE (org_id, consumer) > ($1, $2) \
         ORDER BY org_id, consumer LIMIT {limit}"
    );
    let values = [org_id.uuid().into(), consumer.into()];
    let statement = Statement::from_sql_and_values(conn.get_database_backend(), sql, values);
    conn.query_all_raw(statement).await?.iter().map(decode).collect()
}

/// Returns a quarantine.
pub async fn find_quarantined(
    conn: &impl ConnectionTrait,
    org_id: OrgId,
    consumer: &str,
) -> Result<Option<QuarantinedOrganization>, StorageError> {
    let sql = format!("SELECT {COLUMNS} FROM feed_quarantine WHERE org_id = $1 AND consumer = $2");
    let values = [org_id.uuid().into(), consumer.into()];
    let statement = Statement::from_sql_and_values(conn.get_database_backend(), sql, values);
    let row = conn.query_one_raw(statement).await?;
    row.as_ref().map(decode).transpose()
}

/// Returns a quarantine and locks it until the transaction ends.
pub async fn lock_quarantined(
    tx: &Tx,
    org_id: OrgId,
    consumer: &str,
) -> Result<Option<QuarantinedOrganization>, StorageError> {
    let lock = if tx.db().is_postgres() { "FOR UPDATE" } else { "" };
    // In the order of the consumer, which locks the cursor first.
    let cursor = format!("SELECT position FROM feed_cursor WHERE org_id = $1 AND consumer = $2 {lock}");
    let key = [org_id.uuid().into(), consumer.into()];
    let cursor = Statement::from_sql_and_values(tx.get_database_backend(), cursor, key);
    tx.query_one_raw(cursor).await?;
    let sql = format!("SELECT {COLUMNS} FROM feed_quarantine WHERE org_id = $1 AND consumer = $2 {lock}");
    let values = [org_id.uuid().into(), consumer.into()];
    let statement = Statement::from_sql_and_values(tx.get_database_backend(), sql, values);
    let row = tx.query_one_raw(statement).await?;
    row.as_ref().map(decode).transpose()
}

/// Ends a quarantine, so that the consumer tries again. If it fails again, the organization is quarantined
/// again. Returns whether there was one.
pub async fn retry(tx: &Tx, org_id: OrgId, consumer: &str) -> Result<bool, StorageError> {
    tx.step::<Wake>().add(consumer, org_id);
    clear(tx, consumer, org_id).await
}

/// Makes the consumer skip the event of a quarantine, which must be locked, and take a snapshot later.
pub async fn skip(tx: &Tx, org_id: OrgId, consumer: &str, event_id: EventId) -> Result<(), StorageError> {
    tx.step::<Wake>().add(consumer, org_id);
    set_request(tx, consumer, org_id, Request::Skip(event_id.uuid()), None).await?;
    Ok(())
}

/// Makes the consumer replace the projection of an organization by a snapshot. Returns whether the consumer
/// knows the organization.
pub async fn rebuild(tx: &Tx, org_id: OrgId, consumer: &str) -> Result<bool, StorageError> {
    tx.step::<Wake>().add(consumer, org_id);
    set_request(tx, consumer, org_id, Request::Rebuild, None).await
}

/// Wakes the consumers of this process after the commit. Another process looks at organizations that it
/// believes quarantined every two seconds, and at requests when it starts.
#[derive(Default)]
struct Wake(Mutex<Vec<(String, OrgId)>>);

impl Wake {
    fn add(&self, consumer: &str, org_id: OrgId) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.push((consumer.to_owned(), org_id));
    }
}

#[async_trait]
impl CommitStep for Wake {
    async fn before_commit(&self, _tx: &Tx) -> Result<(), StorageError> {
        Ok(())
    }

    fn after_commit(&self, db: &Db) {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (name, org_id) in all.iter() {
            for consumer in consumers(db).iter().filter(|consumer| consumer.name == name) {
                consumer.request(*org_id);
            }
        }
    }

    fn after_unknown_commit(&self, db: &Db) {
        self.after_commit(db);
    }
}

pub(super) async fn clear(tx: &Tx, consumer: &str, org_id: OrgId) -> Result<bool, StorageError> {
    let sql = "DELETE FROM feed_quarantine WHERE org_id = $1 AND consumer = $2";
    Ok(tx
        .execute_sql(sql, [org_id.uuid().into(), consumer.into()])
        .await?
        > 0)
}

/// Stores what is requested. Returns whether the consumer has a cursor of the organization. `instead_of` is
/// the request that this one replaces; a later request of the operator stays. `None` replaces any.
pub(super) async fn set_request(
    tx: &Tx,
    consumer: &str,
    org_id: OrgId,
    request: Request,
    instead_of: Option<Request>,
) -> Result<bool, StorageError> {
    let (number, event_id) = request.encode();
    let (old_number, old_event_id) = instead_of.unwrap_or_default().encode();
    let sql = "UPDATE feed_cursor SET request = $3, request_event_id = $4 \
               WHERE org_id = $1 AND consumer = $2 \
               AND ($5 OR (request = $6 AND (request_event_id = $7 OR $7 IS NULL)))";
    let values: [Value; 7] = [
        org_id.uuid().into(),
        consumer.into(),
        number.into(),
        event_id.into(),
        instead_of.is_none().into(),
        old_number.into(),
        old_event_id.into(),
    ];
    Ok(tx.execute_sql(sql, values).await? > 0)
}

/// The reason why the events of an organization cannot be applied.
#[derive(Debug, Clone, Default)]
pub(super) struct Rejection {
    /// The id and the kind of the event; `None` if the source could not read it.
    pub(super) event: Option<(Uuid, String)>,
    pub(super) failure: String,
}

impl Rejection {
    /// Returns a cause that is no event.
    pub(super) fn because(failure: &str) -> Self {
        Self {
            event: None,
            failure: failure.to_owned(),
        }
    }
}

/// The state from which the events of an organization could not be applied.
#[derive(Debug, Clone, Copy)]
pub(super) struct Attempt<'a> {
    /// The position of the last event that was applied.
    pub(super) position: i64,
    /// The builds that have failed before; empty if there are none.
    pub(super) failed_builds: &'a str,
    /// The request of the operator that was carried out.
    pub(super) request: Request,
}

/// Quarantines an organization for this build, in addition to those that have failed. The cursor must be
/// locked. Clears the request of the operator that has failed; a later one stays.
pub(super) async fn put(
    tx: &Tx,
    consumer: &str,
    org_id: OrgId,
    attempt: &Attempt<'_>,
    rejection: &Rejection,
    snapshot_failure: &str,
) -> Result<(), StorageError> {
    let Attempt {
        position,
        failed_builds,
        request,
    } = *attempt;
    let sql = "INSERT INTO feed_quarantine (org_id, consumer, position, event_id, event_kind, event_failure, \
               snapshot_failure, builds, quarantine_time) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) \
               ON CONFLICT (org_id, consumer) DO UPDATE SET position = excluded.position, \
               event_id = excluded.event_id, event_kind = excluded.event_kind, \
               event_failure = excluded.event_failure, snapshot_failure = excluded.snapshot_failure, \
               builds = excluded.builds";
    let (event_id, kind) = rejection.event.clone().unzip();
    let builds = if has_failed(failed_builds) {
        failed_builds.to_owned()
    } else {
        format!("{failed_builds} {}", build()).trim().to_owned()
    };
    let values: [Value; 9] = [
        org_id.uuid().into(),
        consumer.into(),
        position.into(),
        event_id.into(),
        kind.unwrap_or_default().into(),
        rejection.failure.as_str().into(),
        snapshot_failure.into(),
        builds.into(),
        tx.now().into(),
    ];
    tx.execute_sql(sql, values).await?;
    set_request(tx, consumer, org_id, Request::None, Some(request)).await?;
    Ok(())
}

/// Whether this build is among those that have failed.
pub(super) fn has_failed(builds: &str) -> bool {
    builds.split(' ').any(|failed| failed == build())
}
