//! The table `assignment` and named queries over it.
use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use parta_access::OrgScope;
use parta_database::{StorageError, table};
use parta_ids::{AssignmentId, MemberId, OrgId, TypedId as _, UnitId};
use sea_orm::{
    ColumnTrait as _, Condition, ConnectionTrait, EntityTrait as _, IntoActiveModel as _, QueryFilter as _,
    QueryOrder as _, QuerySelect as _,
    sea_query::{Expr, OnConflict},
};

use super::model::{Assignment, AssignmentKind, OwnEnd};
use crate::storage::{FactColumns, MemberFacts, end_facts, ids_of, lasting};
pub(super) use entity::Entity as Assignments;
use entity::{Column, Entity, Model};

table!(entity, "assignment", {
    #[sea_orm(primary_key, auto_increment = false)]
    org_id: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    assignment_id: Uuid,
    member_id: Uuid,
    unit_id: Uuid,
    kind: i32,
    create_time: DateTimeUtc,
    expire_time: Option<DateTimeUtc>,
    until_date: Option<Date>,
    end_time: Option<DateTimeUtc>,
    ended_by_decision: bool,
});

impl MemberFacts for Entity {
    type Id = AssignmentId;
    const COLUMNS: FactColumns<Column> = FactColumns {
        org: Column::OrgId,
        id: Column::AssignmentId,
        member: Column::MemberId,
        end_time: Column::EndTime,
    };
}

fn assignment(row: &Model) -> Result<Assignment, StorageError> {
    let kind = AssignmentKind::from_number(row.kind)
        .ok_or_else(|| StorageError::unknown_value("assignment.kind", row.kind))?;
    Ok(Assignment {
        org_id: OrgId::from_uuid(row.org_id),
        id: AssignmentId::from_uuid(row.assignment_id),
        member_id: MemberId::from_uuid(row.member_id),
        unit_id: UnitId::from_uuid(row.unit_id),
        kind,
        create_time: row.create_time,
        own_end: row.expire_time.map(|time| OwnEnd {
            time,
            until: row.until_date,
        }),
        end_time: row.end_time,
    })
}

/// Inserts assignments, as many as one statement takes, but for those of which the same one lasts. Returns
/// the ids of those that were inserted. Their organization is the scope's.
pub(super) async fn insert_all(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    assignments: &[Assignment],
) -> Result<BTreeSet<AssignmentId>, StorageError> {
    if assignments.is_empty() {
        return Ok(BTreeSet::new());
    }
    let org_id = scope.org_id().uuid();
    let rows = assignments.iter().map(|row| {
        Model {
            org_id,
            assignment_id: row.id.uuid(),
            member_id: row.member_id.uuid(),
            unit_id: row.unit_id.uuid(),
            kind: row.kind.number(),
            create_time: row.create_time,
            expire_time: row.own_end.map(|end| end.time),
            until_date: row.own_end.and_then(|end| end.until),
            end_time: row.end_time,
            ended_by_decision: false,
        }
        .into_active_model()
    });
    let inserted = Entity::insert_many(rows)
        .on_conflict(OnConflict::new().do_nothing().to_owned())
        .exec_without_returning(conn)
        .await?;
    let ids = assignments.iter().map(|row| row.id);
    if inserted == assignments.len() as u64 {
        return Ok(ids.collect());
    }
    let rows = Condition::all()
        .add(Column::OrgId.eq(org_id))
        .add(Column::AssignmentId.is_in(ids.map(AssignmentId::uuid)));
    let found = ids_of::<Entity, _>(conn, Column::AssignmentId, rows).await?;
    Ok(found.into_iter().collect())
}

/// Loads an assignment, ended or not.
pub(super) async fn find(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    id: AssignmentId,
) -> Result<Option<Assignment>, StorageError> {
    let row = Entity::find_by_id((scope.org_id().uuid(), id.uuid()))
        .one(conn)
        .await?;
    row.as_ref().map(assignment).transpose()
}

/// Ends an assignment, by a decision or because its time has come; returns `false` if it does not last.
pub(super) async fn end(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    id: AssignmentId,
    by_decision: bool,
    now: DateTime<Utc>,
) -> Result<bool, StorageError> {
    let done = Entity::update_many()
        .col_expr(Column::EndTime, Expr::value(now))
        .col_expr(Column::EndedByDecision, Expr::value(by_decision))
        .filter(Column::OrgId.eq(scope.org_id().uuid()))
        .filter(Column::AssignmentId.eq(id.uuid()))
        .filter(Column::EndTime.is_null())
        .exec(conn)
        .await?;
    Ok(done.rows_affected == 1)
}

/// A member, a unit, and the number of a kind.
pub(super) type Place = (MemberId, UnitId, i32);

/// Returns those latest assignments of these members, by kind and unit, that a decision ended.
pub(super) async fn latest_ended_by_decision(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    members: &BTreeSet<MemberId>,
) -> Result<BTreeSet<Place>, StorageError> {
    let rows = Entity::find()
        .filter(Column::OrgId.eq(scope.org_id().uuid()))
        .filter(Column::MemberId.is_in(members.iter().map(|id| id.uuid())))
        .order_by_asc(Column::CreateTime)
        .order_by_asc(Column::AssignmentId)
        .all(conn)
        .await?;
    let mut latest = BTreeMap::new();
    for row in rows {
        let (member, unit) = (MemberId::from_uuid(row.member_id), UnitId::from_uuid(row.unit_id));
        latest.insert((member, unit, row.kind), row.ended_by_decision);
    }
    let decided = latest.into_iter().filter(|(_, is_decided)| *is_decided);
    Ok(decided.map(|(place, _)| place).collect())
}

/// Loads the latest assignment of this kind that the member was given in the unit after a time.
pub(super) async fn latest_since(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    of: &Assignment,
    since: DateTime<Utc>,
) -> Result<Option<Assignment>, StorageError> {
    let latest = Entity::find()
        .filter(Column::OrgId.eq(scope.org_id().uuid()))
        .filter(Column::MemberId.eq(of.member_id.uuid()))
        .filter(Column::UnitId.eq(of.unit_id.uuid()))
        .filter(Column::Kind.eq(of.kind.number()))
        .filter(Column::CreateTime.gt(since))
        .order_by_desc(Column::CreateTime)
        .order_by_desc(Column::AssignmentId)
        .limit(1)
        .one(conn)
        .await?;
    latest.as_ref().map(assignment).transpose()
}

/// Ends the assignments of these members that have run out and returns their ids.
pub(super) async fn end_expired(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    members: &BTreeSet<MemberId>,
    now: DateTime<Utc>,
) -> Result<Vec<AssignmentId>, StorageError> {
    let expired = lasting::<Entity>(scope)
        .add(Column::MemberId.is_in(members.iter().map(|id| id.uuid())))
        .add(Column::ExpireTime.lte(now));
    Ok(end_facts::<Entity>(conn, expired, now).await?)
}

/// The assignments that a list holds; all of them last at `now`.
pub(super) struct Filter<'a> {
    /// Only in these units; `None` for all.
    pub(super) units: Option<&'a BTreeSet<UnitId>>,
    /// Only of this member.
    pub(super) member: Option<MemberId>,
    /// Only of these members; `None` for all.
    pub(super) among: Option<&'a BTreeSet<MemberId>>,
    pub(super) now: DateTime<Utc>,
}

/// Lists assignments that last, in the order of their ids.
pub(super) async fn list(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    filter: &Filter<'_>,
    after: Option<AssignmentId>,
    limit: u64,
) -> Result<Vec<Assignment>, StorageError> {
    let lasting = Condition::any()
        .add(Column::ExpireTime.is_null())
        .add(Column::ExpireTime.gt(filter.now));
    let rows = Entity::find()
        .filter(Column::OrgId.eq(scope.org_id().uuid()))
        .filter(Column::EndTime.is_null())
        .filter(lasting)
        .filter(
            Condition::all()
                .add_option(
                    filter
                        .units
                        .map(|units| Column::UnitId.is_in(units.iter().map(|u| u.uuid()))),
                )
                .add_option(filter.member.map(|id| Column::MemberId.eq(id.uuid())))
                .add_option(
                    filter
                        .among
                        .map(|ids| Column::MemberId.is_in(ids.iter().map(|id| id.uuid()))),
                )
                .add_option(after.map(|id| Column::AssignmentId.gt(id.uuid()))),
        )
        .order_by_asc(Column::AssignmentId)
        .limit(limit)
        .all(conn)
        .await?;
    rows.iter().map(assignment).collect()
}

/// Lists all assignments that were not ended, of one organization or of all, for the snapshot of the feed.
pub(super) async fn list_current(
    conn: &impl ConnectionTrait,
    org: OrgId,
) -> Result<Vec<Assignment>, StorageError> {
    let rows = Entity::find()
        .filter(Column::EndTime.is_null())
        .filter(Column::OrgId.eq(org.uuid()))
        .all(conn)
        .await?;
    rows.iter().map(assignment).collect()
}
