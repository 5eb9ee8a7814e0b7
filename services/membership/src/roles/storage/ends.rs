//! The table `verification_end` and named queries over it.
use std::collections::BTreeSet;

use parta_access::OrgScope;
use parta_database::{StorageError, insert_or_replace, table};
use parta_ids::{MemberId, TypedId};
use sea_orm::{ConnectionTrait, EntityTrait as _};

use crate::{roles::model::VerificationEnd, storage::load_page_of_members};
use entity::{Column, Entity, Model};

table!(entity, "verification_end", {
    #[sea_orm(primary_key, auto_increment = false)]
    org_id: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    member_id: Uuid,
    last_date: Date,
    due_time: DateTimeUtc,
    cause: String,
    announcer_id: Uuid,
    create_time: DateTimeUtc,
});

fn end(row: Model) -> VerificationEnd {
    VerificationEnd {
        member_id: MemberId::from_uuid(row.member_id),
        last_date: row.last_date,
        due_time: row.due_time,
        cause: row.cause,
        announcer_id: MemberId::from_uuid(row.announcer_id),
        create_time: row.create_time,
    }
}

/// Saves the announced end of a member in place of an earlier one.
pub(in crate::roles) async fn save(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    end: &VerificationEnd,
) -> Result<(), StorageError> {
    let row = Model {
        org_id: scope.org_id().uuid(),
        member_id: end.member_id.uuid(),
        last_date: end.last_date,
        due_time: end.due_time,
        cause: end.cause.clone(),
        announcer_id: end.announcer_id.uuid(),
        create_time: end.create_time,
    };
    insert_or_replace::<Entity>(conn, row).await
}

/// Loads the announced end of a member.
pub(in crate::roles) async fn find(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    member: MemberId,
) -> Result<Option<VerificationEnd>, StorageError> {
    let key = (scope.org_id().uuid(), member.uuid());
    Ok(Entity::find_by_id(key).one(conn).await?.map(end))
}

/// Deletes the announced end of a member. Returns whether there was one.
pub(in crate::roles) async fn delete(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    member: MemberId,
) -> Result<bool, StorageError> {
    let key = (scope.org_id().uuid(), member.uuid());
    let deleted = Entity::delete_by_id(key).exec(conn).await?;
    Ok(deleted.rows_affected > 0)
}

/// Lists announced ends in the order of the members' ids.
pub(in crate::roles) async fn list(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    among: Option<BTreeSet<MemberId>>,
    after: Option<MemberId>,
    limit: u64,
) -> Result<Vec<VerificationEnd>, StorageError> {
    let columns = (Column::OrgId, Column::MemberId);
    let rows = load_page_of_members::<Entity>(conn, columns, scope, among, (after, limit)).await?;
    Ok(rows.into_iter().map(end).collect())
}
