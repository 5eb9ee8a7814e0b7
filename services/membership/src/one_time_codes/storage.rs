//! The table `one_time_code` and named queries over it.
use chrono::{DateTime, Utc};
use parta_access::OrgScope;
use parta_database::{StorageError, insert_or_replace, table};
use parta_ids::{AccountId, MemberId, OrgId, SessionId, TypedId};
use sea_orm::{ColumnTrait as _, ConnectionTrait, EntityTrait as _, QueryFilter as _, QuerySelect as _};

use super::model::{OneTimeCode, Use};
use crate::storage::delete_before;
use entity::{Column, Entity, Model};

table!(entity, "one_time_code", {
    #[sea_orm(primary_key, auto_increment = false)]
    org_id: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    member_id: Uuid,
    code_id: Uuid,
    account_id: Uuid,
    requester_id: Option<Uuid>,
    issuer_id: Option<Uuid>,
    create_time: DateTimeUtc,
    expire_time: DateTimeUtc,
    code_digest: Option<Vec<u8>>,
    session_id: Option<Uuid>,
    use_time: Option<DateTimeUtc>,
    use_request_id: Option<Uuid>,
    confirm_time: Option<DateTimeUtc>,
    confirmer_id: Option<Uuid>,
});

fn one_time_code(row: Model) -> OneTimeCode {
    let used = match (row.session_id, row.use_time, row.use_request_id) {
        (Some(session), Some(time), Some(request_id)) => Some(Use {
            session_id: SessionId::from_uuid(session),
            time,
            request_id,
        }),
        _ => None,
    };
    OneTimeCode {
        org_id: OrgId::from_uuid(row.org_id),
        member_id: MemberId::from_uuid(row.member_id),
        code_id: row.code_id,
        account_id: AccountId::from_uuid(row.account_id),
        requester_id: row.requester_id.map(MemberId::from_uuid),
        issuer_id: row.issuer_id.map(MemberId::from_uuid),
        create_time: row.create_time,
        expire_time: row.expire_time,
        digest: row.code_digest,
        used,
        confirm_time: row.confirm_time,
        confirmer_id: row.confirmer_id.map(MemberId::from_uuid),
    }
}

/// Stores the code of a member in place of the earlier one. The scope must be that of the code.
pub(super) async fn upsert(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    code: &OneTimeCode,
) -> Result<(), StorageError> {
    let row = Model {
        org_id: scope.org_id().uuid(),
        member_id: code.member_id.uuid(),
        code_id: code.code_id,
        account_id: code.account_id.uuid(),
        requester_id: code.requester_id.map(TypedId::uuid),
        issuer_id: code.issuer_id.map(TypedId::uuid),
        create_time: code.create_time,
        expire_time: code.expire_time,
        code_digest: code.digest.clone(),
        session_id: code.used.map(|used| used.session_id.uuid()),
        use_time: code.used.map(|used| used.time),
        use_request_id: code.used.map(|used| used.request_id),
        confirm_time: code.confirm_time,
        confirmer_id: code.confirmer_id.map(TypedId::uuid),
    };
    insert_or_replace::<Entity>(conn, row).await
}

/// Loads the latest code of a member.
pub(super) async fn find(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    member: MemberId,
) -> Result<Option<OneTimeCode>, StorageError> {
    let row = Entity::find_by_id((scope.org_id().uuid(), member.uuid()))
        .one(conn)
        .await?;
    Ok(row.map(one_time_code))
}

/// Loads the latest code of a member, and locks the row until the transaction ends.
pub(super) async fn lock(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    member: MemberId,
) -> Result<Option<OneTimeCode>, StorageError> {
    let row = Entity::find_by_id((scope.org_id().uuid(), member.uuid()))
        .lock_exclusive()
        .one(conn)
        .await?;
    Ok(row.map(one_time_code))
}

/// Loads the code with this digest, and locks the row until the transaction ends. The person who enters a
/// code does not know the organization.
pub(super) async fn lock_by_digest(
    conn: &impl ConnectionTrait,
    digest: Vec<u8>,
) -> Result<Option<OneTimeCode>, StorageError> {
    let row = Entity::find()
        .filter(Column::CodeDigest.eq(digest))
        .lock_exclusive()
        .one(conn)
        .await?;
    Ok(row.map(one_time_code))
}

/// Deletes the code of a member.
pub(super) async fn delete(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    member: MemberId,
) -> Result<(), StorageError> {
    Entity::delete_by_id((scope.org_id().uuid(), member.uuid()))
        .exec(conn)
        .await?;
    Ok(())
}

/// Deletes the codes that were requested before a time.
pub(super) async fn delete_old(
    conn: &impl ConnectionTrait,
    created_before: DateTime<Utc>,
) -> Result<(), StorageError> {
    delete_before::<Entity>(conn, Column::CreateTime, created_before).await
}

/// Deletes all codes, and returns their number.
pub(super) async fn delete_all(conn: &impl ConnectionTrait) -> Result<u64, StorageError> {
    Ok(Entity::delete_many().exec(conn).await?.rows_affected)
}
