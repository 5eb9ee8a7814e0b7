//! The table `due_ending` and named queries over it.
use chrono::{DateTime, Utc};
use parta_access::OrgScope;
use parta_database::{StorageError, table};
use parta_ids::{OrgId, TypedId as _, Uuid};
use sea_orm::{
    ColumnTrait as _, ConnectionTrait, EntityTrait as _, IntoActiveModel as _, QueryFilter as _,
    QueryOrder as _, QuerySelect as _, sea_query::OnConflict,
};

use entity::{Column, Entity, Model};

table!(entity, "due_ending", {
    #[sea_orm(primary_key, auto_increment = false)]
    org_id: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    kind: i32,
    #[sea_orm(primary_key, auto_increment = false)]
    object_id: Uuid,
    due_time: DateTimeUtc,
});

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EndingKind {
    /// An assignment, at its `expire_time`.
    Assignment,
    /// A duty, after its last day.
    Duty,
    /// A limit of a guardian toward a child, after its last day.
    RelationLimit,
    /// A part of the relations of a student: on the day after the 18th birthday, and after the school year.
    Majority,
    /// The verification of a teacher, after its announced last day.
    Verification,
    /// The appointment of an acting head, after its last day.
    ActingHead,
}

impl EndingKind {
    const ALL: [Self; 6] = [
        Self::Assignment,
        Self::Duty,
        Self::RelationLimit,
        Self::Majority,
        Self::Verification,
        Self::ActingHead,
    ];

    fn number(self) -> i32 {
        match self {
            Self::Assignment => 1,
            Self::Duty => 2,
            Self::RelationLimit => 3,
            Self::Majority => 4,
            Self::Verification => 5,
            Self::ActingHead => 6,
        }
    }

    fn from_number(number: i32) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.number() == number)
    }
}

/// An ending whose time has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DueEnding {
    pub(crate) kind: EndingKind,
    pub(crate) object_id: Uuid,
}

/// Sets the time at which a fact ends.
pub(super) async fn put(
    conn: &impl ConnectionTrait,
    org: OrgId,
    kind: EndingKind,
    object_id: Uuid,
    due_time: DateTime<Utc>,
) -> Result<(), StorageError> {
    let row = Model {
        org_id: org.uuid(),
        kind: kind.number(),
        object_id,
        due_time,
    };
    let known = OnConflict::columns([Column::OrgId, Column::Kind, Column::ObjectId])
        .update_column(Column::DueTime)
        .to_owned();
    Entity::insert(row.into_active_model())
        .on_conflict(known)
        .exec_without_returning(conn)
        .await?;
    Ok(())
}

/// Deletes the time of a fact, which has ended.
pub(super) async fn delete(
    conn: &impl ConnectionTrait,
    org: OrgId,
    kind: EndingKind,
    object_id: Uuid,
) -> Result<(), StorageError> {
    Entity::delete_by_id((org.uuid(), kind.number(), object_id))
        .exec(conn)
        .await?;
    Ok(())
}

/// Deletes the time of a fact that is due. Returns `false` if the fact has ended meanwhile, or its end was
/// postponed.
pub(crate) async fn delete_due(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    ending: DueEnding,
    now: DateTime<Utc>,
) -> Result<bool, StorageError> {
    let deleted = Entity::delete_many()
        .filter(Column::OrgId.eq(scope.org_id().uuid()))
        .filter(Column::Kind.eq(ending.kind.number()))
        .filter(Column::ObjectId.eq(ending.object_id))
        .filter(Column::DueTime.lte(now))
        .exec(conn)
        .await?;
    Ok(deleted.rows_affected > 0)
}

/// Lists at most `limit` endings of an organization whose time has come. Locks none of them, because an
/// act that ends the same fact locks the fact first and then this row.
pub(crate) async fn list_due(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    now: DateTime<Utc>,
    limit: u64,
) -> Result<Vec<DueEnding>, StorageError> {
    let rows = Entity::find()
        .filter(Column::OrgId.eq(scope.org_id().uuid()))
        .filter(Column::DueTime.lte(now))
        .order_by_asc(Column::DueTime)
        .order_by_asc(Column::ObjectId)
        .limit(limit)
        .all(conn)
        .await?;
    let due = rows.iter().map(|row| {
        let kind = EndingKind::from_number(row.kind)
            .ok_or_else(|| StorageError::unknown_value("due_ending.kind", row.kind))?;
        Ok(DueEnding {
            kind,
            object_id: row.object_id,
        })
    });
    due.collect()
}

/// Returns whether the organization has an ending that was due before `before`.
pub(super) async fn is_due_before(
    conn: &impl ConnectionTrait,
    org: OrgId,
    before: DateTime<Utc>,
) -> Result<bool, StorageError> {
    let row = Entity::find()
        .filter(Column::OrgId.eq(org.uuid()))
        .filter(Column::DueTime.lte(before))
        .one(conn)
        .await?;
    Ok(row.is_some())
}

/// Lists the organizations that have an ending due before `before`, each with the earliest time.
pub(super) async fn list_due_before(
    conn: &impl ConnectionTrait,
    before: DateTime<Utc>,
) -> Result<Vec<(OrgId, DateTime<Utc>)>, StorageError> {
    let rows: Vec<(Uuid, DateTime<Utc>)> = Entity::find()
        .select_only()
        .column(Column::OrgId)
        .column_as(Column::DueTime.min(), "due_time")
        .filter(Column::DueTime.lte(before))
        .group_by(Column::OrgId)
        .into_tuple()
        .all(conn)
        .await?;
    Ok(rows
        .into_iter()
        .map(|(org, due_time)| (OrgId::from_uuid(org), due_time))
        .collect())
}
