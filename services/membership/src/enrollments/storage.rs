//! The table `enrollment` and named queries over it.
use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use parta_access::OrgScope;
use parta_database::{StorageError, table};
use parta_ids::{EnrollmentId, MemberId, OrgId, TypedId as _, UnitId, Uuid};
use sea_orm::{
    ColumnTrait as _, Condition, ConnectionTrait, EntityTrait as _, IntoActiveModel as _, QueryFilter as _,
    QueryOrder as _, QuerySelect as _,
    sea_query::{Expr, OnConflict},
};

use super::model::Enrollment;
use crate::storage::{FactColumns, MemberFacts, end_facts, ids_of, lasting_of};
pub(super) use entity::Entity as Enrollments;
use entity::{Column, Entity, Model};

table!(entity, "enrollment", {
    #[sea_orm(primary_key, auto_increment = false)]
    org_id: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    enrollment_id: Uuid,
    member_id: Uuid,
    unit_id: Uuid,
    create_time: DateTimeUtc,
    end_time: Option<DateTimeUtc>,
    ended_by_decision: bool,
});

impl MemberFacts for Entity {
    type Id = EnrollmentId;
    const COLUMNS: FactColumns<Column> = FactColumns {
        org: Column::OrgId,
        id: Column::EnrollmentId,
        member: Column::MemberId,
        end_time: Column::EndTime,
    };
}

fn enrollment(row: &Model) -> Enrollment {
    Enrollment {
        org_id: OrgId::from_uuid(row.org_id),
        id: EnrollmentId::from_uuid(row.enrollment_id),
        member_id: MemberId::from_uuid(row.member_id),
        unit_id: UnitId::from_uuid(row.unit_id),
        create_time: row.create_time,
    }
}

/// Inserts enrollments, as many as one statement takes, but for those whose member is in the unit. Returns
/// the ids of those that were inserted. Their organization is the scope's.
pub(super) async fn insert_all(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    enrollments: &[Enrollment],
) -> Result<BTreeSet<EnrollmentId>, StorageError> {
    if enrollments.is_empty() {
        return Ok(BTreeSet::new());
    }
    let org_id = scope.org_id().uuid();
    let rows = enrollments.iter().map(|row| {
        Model {
            org_id,
            enrollment_id: row.id.uuid(),
            member_id: row.member_id.uuid(),
            unit_id: row.unit_id.uuid(),
            create_time: row.create_time,
            end_time: None,
            ended_by_decision: false,
        }
        .into_active_model()
    });
    let inserted = Entity::insert_many(rows)
        .on_conflict(OnConflict::new().do_nothing().to_owned())
        .exec_without_returning(conn)
        .await?;
    let ids = enrollments.iter().map(|row| row.id);
    if inserted == enrollments.len() as u64 {
        return Ok(ids.collect());
    }
    let rows = Condition::all()
        .add(Column::OrgId.eq(org_id))
        .add(Column::EnrollmentId.is_in(ids.map(EnrollmentId::uuid)));
    let found = ids_of::<Entity, _>(conn, Column::EnrollmentId, rows).await?;
    Ok(found.into_iter().collect())
}

/// Ends the enrollment of a member in a unit and returns its id; `None` if the member is not in it.
pub(super) async fn end(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    member: MemberId,
    unit: UnitId,
    now: DateTime<Utc>,
) -> Result<Option<EnrollmentId>, StorageError> {
    let current = lasting_of::<Entity>(scope, member).add(Column::UnitId.eq(unit.uuid()));
    Ok(end_facts::<Entity>(conn, current, now).await?.pop())
}

/// Notes that a decision ended an enrollment.
pub(super) async fn note_decision(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    id: EnrollmentId,
) -> Result<(), StorageError> {
    Entity::update_many()
        .col_expr(Column::EndedByDecision, Expr::value(true))
        .filter(Column::OrgId.eq(scope.org_id().uuid()))
        .filter(Column::EnrollmentId.eq(id.uuid()))
        .exec(conn)
        .await?;
    Ok(())
}

/// Returns the members and units of those latest enrollments of these members that a decision ended.
pub(super) async fn latest_ended_by_decision(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    members: &BTreeSet<MemberId>,
) -> Result<BTreeSet<(MemberId, UnitId)>, StorageError> {
    let rows = Entity::find()
        .filter(Column::OrgId.eq(scope.org_id().uuid()))
        .filter(Column::MemberId.is_in(members.iter().map(|id| id.uuid())))
        .order_by_asc(Column::CreateTime)
        .order_by_asc(Column::EnrollmentId)
        .all(conn)
        .await?;
    let mut latest = BTreeMap::new();
    for row in rows {
        let key = (MemberId::from_uuid(row.member_id), UnitId::from_uuid(row.unit_id));
        latest.insert(key, row.ended_by_decision);
    }
    let decided = latest.into_iter().filter(|(_, is_decided)| *is_decided);
    Ok(decided.map(|(key, _)| key).collect())
}

/// The units in which the member was enrolled after a time, apart from some enrollments.
pub(super) async fn units_since(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    member: MemberId,
    since: DateTime<Utc>,
    apart_from: &[EnrollmentId],
) -> Result<BTreeSet<UnitId>, StorageError> {
    let units: Vec<Uuid> = Entity::find()
        .select_only()
        .column(Column::UnitId)
        .filter(Column::OrgId.eq(scope.org_id().uuid()))
        .filter(Column::MemberId.eq(member.uuid()))
        .filter(Column::CreateTime.gt(since))
        .filter(Column::EnrollmentId.is_not_in(apart_from.iter().map(|id| id.uuid())))
        .into_tuple()
        .all(conn)
        .await?;
    Ok(units.into_iter().map(UnitId::from_uuid).collect())
}

/// Loads an enrollment, ended or not.
pub(super) async fn find(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    id: EnrollmentId,
) -> Result<Option<Enrollment>, StorageError> {
    let row = Entity::find_by_id((scope.org_id().uuid(), id.uuid()))
        .one(conn)
        .await?;
    Ok(row.as_ref().map(enrollment))
}

/// The units in which each of these members is enrolled, in the order of enrolling.
pub(crate) async fn units_of(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    members: &[MemberId],
) -> Result<BTreeMap<MemberId, Vec<UnitId>>, StorageError> {
    let rows = Entity::find()
        .filter(Column::OrgId.eq(scope.org_id().uuid()))
        .filter(Column::MemberId.is_in(members.iter().map(|id| id.uuid())))
        .filter(Column::EndTime.is_null())
        .order_by_asc(Column::EnrollmentId)
        .all(conn)
        .await?;
    let mut units: BTreeMap<MemberId, Vec<UnitId>> = BTreeMap::new();
    for row in rows.iter().map(enrollment) {
        units.entry(row.member_id).or_default().push(row.unit_id);
    }
    Ok(units)
}

/// Lists all enrollments that last, of one organization or of all, for the snapshot of the feed.
pub(super) async fn list_current(
    conn: &impl ConnectionTrait,
    org: OrgId,
) -> Result<Vec<Enrollment>, StorageError> {
    let rows = Entity::find()
        .filter(Column::EndTime.is_null())
        .filter(Column::OrgId.eq(org.uuid()))
        .all(conn)
        .await?;
    Ok(rows.iter().map(enrollment).collect())
}
