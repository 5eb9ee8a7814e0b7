//! The table `former_name` and named queries over it.
use parta_access::OrgScope;
use parta_database::{StorageError, table};
use parta_ids::{MemberId, TypedId};
use sea_orm::{
    ColumnTrait as _, Condition, ConnectionTrait, EntityTrait as _, IntoActiveModel as _, QueryFilter as _,
    QueryOrder as _, QuerySelect as _,
};

use super::FormerName;
use entity::{Column, Entity, Model};

table!(entity, "former_name", {
    #[sea_orm(primary_key, auto_increment = false)]
    org_id: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    member_id: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    revision: i64,
    full_name: String,
    end_time: DateTimeUtc,
    corrector_id: Option<Uuid>,
});

fn of(scope: &OrgScope, member: MemberId) -> Condition {
    Condition::all()
        .add(Column::OrgId.eq(scope.org_id().uuid()))
        .add(Column::MemberId.eq(member.uuid()))
}

/// Inserts a name that ends.
pub(super) async fn insert(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    member: MemberId,
    former: &FormerName,
) -> Result<(), StorageError> {
    let row = Model {
        org_id: scope.org_id().uuid(),
        member_id: member.uuid(),
        revision: former.revision,
        full_name: former.full_name.clone(),
        end_time: former.end_time,
        corrector_id: former.corrector_id.map(TypedId::uuid),
    };
    Entity::insert(row.into_active_model())
        .exec_without_returning(conn)
        .await?;
    Ok(())
}

/// Deletes all former names of a member.
pub(super) async fn delete_all(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    member: MemberId,
) -> Result<(), StorageError> {
    Entity::delete_many().filter(of(scope, member)).exec(conn).await?;
    Ok(())
}

/// Lists former names, the latest first.
pub(super) async fn list(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    member: MemberId,
    after: Option<i64>,
    limit: u64,
) -> Result<Vec<FormerName>, StorageError> {
    let rows = Entity::find()
        .filter(of(scope, member).add_option(after.map(|revision| Column::Revision.lt(revision))))
        .order_by_desc(Column::Revision)
        .limit(limit)
        .all(conn)
        .await?;
    let former = |row: Model| FormerName {
        revision: row.revision,
        full_name: row.full_name,
        end_time: row.end_time,
        corrector_id: row.corrector_id.map(MemberId::from_uuid),
    };
    Ok(rows.into_iter().map(former).collect())
}
