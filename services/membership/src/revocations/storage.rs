//! Reads everything that is revoked from the tables of sessions, member records and service accounts, in one
//! statement, because each replica does so twice a second.
use chrono::{DateTime, TimeDelta, Utc};
use parta_access::REVOCATION_LIFETIME;
use parta_database::{Db, StorageError};
use parta_ids::{MemberId, OrgId, ServiceAccountKeyId, SessionId, TypedId as _, Uuid};
use sea_orm::{ConnectionTrait as _, DbErr, QueryResult, Statement};

/// The time after a release within which a session may begin whose token for the released record was
/// issued before: longer than any call takes.
const CONCURRENT: TimeDelta = TimeDelta::seconds(60);

/// A row of the list.
#[derive(Debug, Clone, Copy)]
pub(super) enum Row {
    /// A session that was ended, and one of the members of its person. An organization that the person has
    /// left is among them: a token that was issued before is refused there after a return too.
    EndedSession(SessionId, Option<(OrgId, MemberId)>),
    /// A session of an account from which a record was released. It is revoked for the released record only.
    ReleasedRecord(SessionId, (OrgId, MemberId)),
    /// A key of a service account.
    ServiceAccountKey(ServiceAccountKeyId),
}

/// Lists what was revoked within [`REVOCATION_LIFETIME`] by the clock of the database, at most `limit` rows.
///
/// The members are read with the sessions each time: a transaction that admits the person may commit after
/// the one that ended the session, and a token for that organization may have been issued in between.
///
/// A session that begins after a release cannot have a token for the record, unless the account claims it
/// again. A token lives for less time than a release is listed, and is issued by a session that was refreshed
/// shortly before.
pub(super) async fn list(db: &Db, limit: u64) -> Result<Vec<Row>, StorageError> {
    let since = db.clock_time_before(REVOCATION_LIFETIME);
    let refreshed_since = db.clock_time_before(REVOCATION_LIFETIME * 2);
    let (sessions, members) = if db.is_postgres() {
        // With OFFSET the server looks up the rows of each account. It could read the whole table otherwise,
        // while it has no statistics of the small one.
        (
            "JOIN LATERAL (SELECT session_id, create_time, refresh_time FROM session \
             WHERE account_id = p.account_id OFFSET 0) s ON TRUE",
            "LEFT JOIN LATERAL (SELECT org_id, member_id FROM member \
             WHERE account_id = e.account_id OFFSET 0) m ON TRUE",
        )
    } else {
        (
            "JOIN session s ON s.account_id = p.account_id",
            "LEFT JOIN member m ON m.account_id = e.account_id",
        )
    };
    let sql = format!(
        "SELECT 1 AS kind, s.session_id AS id, p.org_id, p.member_id, p.release_time, s.create_time \
         FROM released_profile p {sessions} \
         WHERE p.release_time > {since} AND s.refresh_time > {refreshed_since} \
         UNION ALL SELECT 2, e.session_id, m.org_id, m.member_id, NULL, NULL \
         FROM ended_session e {members} WHERE e.end_time > {since} \
         UNION ALL SELECT 3, k.key_id, NULL, NULL, NULL, NULL \
         FROM revoked_service_account_key k WHERE k.revoke_time > {since} LIMIT {limit}"
    );
    let statement = Statement::from_string(db.backend(), sql);
    let rows = db.conn().query_all_raw(statement).await?;
    let mut list = Vec::with_capacity(rows.len());
    for row in rows {
        list.extend(decode(&row)?);
    }
    Ok(list)
}

/// Reads a row. Returns `None` for a session that began too late to have a token for the released record.
fn decode(row: &QueryResult) -> Result<Option<Row>, DbErr> {
    let id: Uuid = row.try_get("", "id")?;
    let session = SessionId::from_uuid(id);
    let org: Option<Uuid> = row.try_get("", "org_id")?;
    let member: Option<Uuid> = row.try_get("", "member_id")?;
    let member = org.map(OrgId::from_uuid).zip(member.map(MemberId::from_uuid));
    let kind: i32 = row.try_get("", "kind")?;
    Ok(match (kind, member) {
        (1, Some(member)) => {
            let released: DateTime<Utc> = row.try_get("", "release_time")?;
            let created: DateTime<Utc> = row.try_get("", "create_time")?;
            (created < released + CONCURRENT).then_some(Row::ReleasedRecord(session, member))
        }
        (2, member) => Some(Row::EndedSession(session, member)),
        _ => Some(Row::ServiceAccountKey(ServiceAccountKeyId::from_uuid(id))),
    })
}
