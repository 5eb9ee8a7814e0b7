//! The table `suspension` and named queries over it.
use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use parta_access::OrgScope;
use parta_database::{StorageError, table};
use parta_ids::{MemberId, OrgId, SuspensionId, TypedId};
use parta_roster::Role;
use sea_orm::{
    ActiveModelTrait as _, ColumnTrait as _, Condition, ConnectionTrait, EntityTrait as _,
    IntoActiveModel as _, QueryFilter as _, QuerySelect as _,
};

use super::model::Suspension;
use crate::storage::load_page;
use entity::{Column, Entity, Model};

table!(entity, "suspension", {
    #[sea_orm(primary_key, auto_increment = false)]
    org_id: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    suspension_id: Uuid,
    member_id: Uuid,
    roles: Option<i32>,
    create_time: DateTimeUtc,
    suspender_id: Option<Uuid>,
    cause: String,
    confirm_time: Option<DateTimeUtc>,
    confirmer_id: Option<Uuid>,
    end_time: Option<DateTimeUtc>,
    ender_id: Option<Uuid>,
    end_cause: Option<String>,
});

fn roles(mask: i32) -> Result<BTreeSet<Role>, StorageError> {
    let roles = Role::set_of(mask);
    if Role::mask_of(roles.iter().copied()) == mask {
        Ok(roles)
    } else {
        Err(StorageError::unknown_value("suspension.roles", mask))
    }
}

fn suspension(row: Model) -> Result<Suspension, StorageError> {
    Ok(Suspension {
        org_id: OrgId::from_uuid(row.org_id),
        id: SuspensionId::from_uuid(row.suspension_id),
        member_id: MemberId::from_uuid(row.member_id),
        roles: row.roles.map(roles).transpose()?,
        create_time: row.create_time,
        suspender_id: row.suspender_id.map(MemberId::from_uuid),
        cause: row.cause,
        confirm_time: row.confirm_time,
        confirmer_id: row.confirmer_id.map(MemberId::from_uuid),
        end_time: row.end_time,
        ender_id: row.ender_id.map(MemberId::from_uuid),
        end_cause: row.end_cause,
    })
}

fn suspensions(rows: Vec<Model>) -> Result<Vec<Suspension>, StorageError> {
    rows.into_iter().map(suspension).collect()
}

/// The row of a suspension; refuses one of another organization than the scope's.
fn to_row(scope: &OrgScope, row: &Suspension) -> Result<Model, StorageError> {
    if row.org_id != scope.org_id() {
        return Err(StorageError::Fault(
            "a row of another organization than the scope's was to be written".into(),
        ));
    }
    Ok(Model {
        org_id: row.org_id.uuid(),
        suspension_id: row.id.uuid(),
        member_id: row.member_id.uuid(),
        roles: row
            .roles
            .as_ref()
            .map(|roles| Role::mask_of(roles.iter().copied())),
        create_time: row.create_time,
        suspender_id: row.suspender_id.map(TypedId::uuid),
        cause: row.cause.clone(),
        confirm_time: row.confirm_time,
        confirmer_id: row.confirmer_id.map(TypedId::uuid),
        end_time: row.end_time,
        ender_id: row.ender_id.map(TypedId::uuid),
        end_cause: row.end_cause.clone(),
    })
}

pub(super) async fn insert(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    row: &Suspension,
) -> Result<(), StorageError> {
    Entity::insert(to_row(scope, row)?.into_active_model())
        .exec_without_returning(conn)
        .await?;
    Ok(())
}

/// Loads a suspension, lifted or not.
pub(super) async fn find(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    id: SuspensionId,
) -> Result<Option<Suspension>, StorageError> {
    let row = Entity::find_by_id((scope.org_id().uuid(), id.uuid()))
        .one(conn)
        .await?;
    row.map(suspension).transpose()
}

/// Loads a suspension, lifted or not, and locks its row until the transaction ends.
pub(super) async fn lock(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    id: SuspensionId,
) -> Result<Option<Suspension>, StorageError> {
    let row = Entity::find_by_id((scope.org_id().uuid(), id.uuid()))
        .lock_exclusive()
        .one(conn)
        .await?;
    row.map(suspension).transpose()
}

/// Saves all columns of a suspension.
pub(super) async fn update(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    row: &Suspension,
) -> Result<(), StorageError> {
    Entity::update(to_row(scope, row)?.into_active_model().reset_all())
        .exec(conn)
        .await?;
    Ok(())
}

/// Lists the suspensions of these members that were not lifted.
pub(super) async fn list_of(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    members: impl IntoIterator<Item = MemberId>,
) -> Result<Vec<Suspension>, StorageError> {
    let rows = Entity::find()
        .filter(Column::OrgId.eq(scope.org_id().uuid()))
        .filter(Column::MemberId.is_in(members.into_iter().map(TypedId::uuid)))
        .filter(Column::EndTime.is_null())
        .all(conn)
        .await?;
    suspensions(rows)
}

/// Lists the suspensions of the organization that were not lifted, except those of one member, in the
/// order of their ids.
pub(super) async fn list(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    except: MemberId,
    after: Option<SuspensionId>,
    limit: u64,
) -> Result<Vec<Suspension>, StorageError> {
    let rows = Condition::all()
        .add(Column::OrgId.eq(scope.org_id().uuid()))
        .add(Column::EndTime.is_null())
        .add(Column::MemberId.ne(except.uuid()));
    let after = after.map(TypedId::uuid);
    suspensions(load_page::<Entity>(conn, Column::SuspensionId, rows, after, limit).await?)
}

/// Lists the suspensions of all organizations that were made before `before` and neither confirmed nor
/// lifted, in the order of their ids. Only the operator reads across organizations.
pub(super) async fn list_undecided(
    conn: &impl ConnectionTrait,
    before: DateTime<Utc>,
    after: Option<SuspensionId>,
    limit: u64,
) -> Result<Vec<Suspension>, StorageError> {
    let rows = Condition::all()
        .add(Column::EndTime.is_null())
        .add(Column::ConfirmTime.is_null())
        .add(Column::CreateTime.lte(before));
    let after = after.map(TypedId::uuid);
    suspensions(load_page::<Entity>(conn, Column::SuspensionId, rows, after, limit).await?)
}

/// Lists all suspensions of an organization that were not lifted, for the snapshot of the feed.
pub(super) async fn list_current(
    conn: &impl ConnectionTrait,
    org: OrgId,
) -> Result<Vec<Suspension>, StorageError> {
    let rows = Entity::find()
        .filter(Column::OrgId.eq(org.uuid()))
        .filter(Column::EndTime.is_null())
        .all(conn)
        .await?;
    suspensions(rows)
}
