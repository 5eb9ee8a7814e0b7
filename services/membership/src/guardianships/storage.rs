//! The table `guardianship` and named queries over it.
use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use parta_access::OrgScope;
use parta_database::{StorageError, table};
use parta_ids::{GuardianshipId, MemberId, OrgId, TypedId as _};
use sea_orm::{
    ActiveModelTrait as _, ColumnTrait as _, Condition, ConnectionTrait, DbErr, EntityTrait as _,
    IntoActiveModel as _, QueryFilter as _, QueryOrder as _, QuerySelect as _, sea_query::OnConflict,
};

use super::model::Guardianship;
use crate::storage::end_rows;
use entity::{Column, Entity, Model};

table!(entity, "guardianship", {
    #[sea_orm(primary_key, auto_increment = false)]
    org_id: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    guardianship_id: Uuid,
    guardian_id: Uuid,
    child_id: Uuid,
    confirmed: bool,
    create_time: DateTimeUtc,
    end_time: Option<DateTimeUtc>,
    end_cause: Option<String>,
});

impl From<Model> for Guardianship {
    fn from(row: Model) -> Self {
        Self {
            org_id: OrgId::from_uuid(row.org_id),
            id: GuardianshipId::from_uuid(row.guardianship_id),
            guardian_id: MemberId::from_uuid(row.guardian_id),
            child_id: MemberId::from_uuid(row.child_id),
            confirmed: row.confirmed,
            create_time: row.create_time,
            end_time: row.end_time,
            end_cause: row.end_cause,
        }
    }
}

/// The row of a relation; refuses one of another organization than the scope's.
fn to_row(scope: &OrgScope, row: &Guardianship) -> Result<Model, StorageError> {
    if row.org_id != scope.org_id() {
        return Err(StorageError::Fault(
            "a row of another organization than the scope's was to be written".into(),
        ));
    }
    Ok(Model {
        org_id: row.org_id.uuid(),
        guardianship_id: row.id.uuid(),
        guardian_id: row.guardian_id.uuid(),
        child_id: row.child_id.uuid(),
        confirmed: row.confirmed,
        create_time: row.create_time,
        end_time: row.end_time,
        end_cause: row.end_cause.clone(),
    })
}

/// Inserts a relation; returns `false` if one of the two has not ended.
pub(super) async fn insert(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    row: &Guardianship,
) -> Result<bool, StorageError> {
    let inserted = Entity::insert(to_row(scope, row)?.into_active_model())
        .on_conflict(OnConflict::new().do_nothing().to_owned())
        .exec_without_returning(conn)
        .await?;
    Ok(inserted == 1)
}

/// Loads a relation, ended or not.
pub(super) async fn find(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    id: GuardianshipId,
) -> Result<Option<Guardianship>, DbErr> {
    let row = Entity::find_by_id((scope.org_id().uuid(), id.uuid()))
        .one(conn)
        .await?;
    Ok(row.map(Guardianship::from))
}

/// Loads a relation, ended or not, and locks its row until the transaction ends.
pub(super) async fn lock(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    id: GuardianshipId,
) -> Result<Option<Guardianship>, DbErr> {
    let row = Entity::find_by_id((scope.org_id().uuid(), id.uuid()))
        .lock_exclusive()
        .one(conn)
        .await?;
    Ok(row.map(Guardianship::from))
}

/// Saves all columns of a relation.
pub(super) async fn update(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    row: &Guardianship,
) -> Result<(), StorageError> {
    Entity::update(to_row(scope, row)?.into_active_model().reset_all())
        .exec(conn)
        .await?;
    Ok(())
}

/// In what a member takes part in a relation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    /// The guardian.
    Guardian,
    /// The child.
    Child,
}

/// Ends every relation of a member on one side and returns their ids.
pub(super) async fn end_all_of(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    member: MemberId,
    side: Side,
    now: DateTime<Utc>,
) -> Result<Vec<GuardianshipId>, DbErr> {
    let own = match side {
        Side::Guardian => Column::GuardianId,
        Side::Child => Column::ChildId,
    };
    let current = Condition::all()
        .add(Column::OrgId.eq(scope.org_id().uuid()))
        .add(own.eq(member.uuid()))
        .add(Column::EndTime.is_null());
    let columns = (Column::GuardianshipId, Column::EndTime);
    end_rows::<Entity, _>(conn, columns, current, now).await
}

/// Which relations a list may hold.
pub(super) enum Visible {
    /// All of the organization.
    All,
    /// Those of this person, and those of these children.
    Of(MemberId, BTreeSet<MemberId>),
}

/// Lists relations that have not ended, in the order of their ids.
pub(super) async fn list(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    visible: &Visible,
    child: Option<MemberId>,
    pending_only: bool,
    after: Option<GuardianshipId>,
    limit: u64,
) -> Result<Vec<Guardianship>, DbErr> {
    let visible = match visible {
        Visible::All => None,
        Visible::Of(person, children) => Some(
            Condition::any()
                .add(Column::GuardianId.eq(person.uuid()))
                .add(Column::ChildId.eq(person.uuid()))
                .add(Column::ChildId.is_in(children.iter().map(|c| c.uuid()))),
        ),
    };
    let rows = Entity::find()
        .filter(Column::OrgId.eq(scope.org_id().uuid()))
        .filter(Column::EndTime.is_null())
        .filter(
            Condition::all()
                .add_option(visible)
                .add_option(child.map(|id| Column::ChildId.eq(id.uuid())))
                .add_option(pending_only.then(|| Column::Confirmed.eq(false)))
                .add_option(after.map(|id| Column::GuardianshipId.gt(id.uuid()))),
        )
        .order_by_asc(Column::GuardianshipId)
        .limit(limit)
        .all(conn)
        .await?;
    Ok(rows.into_iter().map(Guardianship::from).collect())
}

/// Lists all relations that have not ended, of one organization or of all, for the snapshot of the feed and
/// for imports.
pub(crate) async fn list_current(
    conn: &impl ConnectionTrait,
    org: OrgId,
) -> Result<Vec<Guardianship>, DbErr> {
    let rows = Entity::find()
        .filter(Column::EndTime.is_null())
        .filter(Column::OrgId.eq(org.uuid()))
        .all(conn)
        .await?;
    Ok(rows.into_iter().map(Guardianship::from).collect())
}
