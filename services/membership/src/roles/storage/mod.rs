//! The table `verification_request` and named queries over it; those of changes of roles and of
//! announced ends beside it.
pub(super) mod changes;
pub(super) mod ends;

use std::collections::BTreeSet;

use parta_access::OrgScope;
use parta_database::{StorageError, insert_or_replace, table};
use parta_ids::{MemberId, TypedId};
use sea_orm::{ConnectionTrait, EntityTrait as _};

use super::VerificationRequest;
use crate::storage::load_page_of_members;
use entity::{Column, Entity, Model};

table!(entity, "verification_request", {
    #[sea_orm(primary_key, auto_increment = false)]
    org_id: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    member_id: Uuid,
    evidence: String,
    create_time: DateTimeUtc,
});

/// Saves the request of a member in place of an earlier one.
pub(super) async fn save(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    request: &VerificationRequest,
) -> Result<(), StorageError> {
    let row = Model {
        org_id: scope.org_id().uuid(),
        member_id: request.member_id.uuid(),
        evidence: request.evidence.clone(),
        create_time: request.create_time,
    };
    insert_or_replace::<Entity>(conn, row).await
}

/// Deletes the request of a member. Returns whether there was one.
pub(super) async fn delete(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    member: MemberId,
) -> Result<bool, StorageError> {
    let key = (scope.org_id().uuid(), member.uuid());
    let deleted = Entity::delete_by_id(key).exec(conn).await?;
    Ok(deleted.rows_affected > 0)
}

/// Lists requests in the order of the members' ids.
pub(super) async fn list(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    among: Option<BTreeSet<MemberId>>,
    after: Option<MemberId>,
    limit: u64,
) -> Result<Vec<VerificationRequest>, StorageError> {
    let columns = (Column::OrgId, Column::MemberId);
    let rows = load_page_of_members::<Entity>(conn, columns, scope, among, (after, limit)).await?;
    let request = |row: Model| VerificationRequest {
        member_id: MemberId::from_uuid(row.member_id),
        evidence: row.evidence,
        create_time: row.create_time,
    };
    Ok(rows.into_iter().map(request).collect())
}
