//! Events of one kind that follow each other in a batch, and the rows that they write together. An import of
//! a school has hundreds of them.
use std::collections::BTreeSet;

use parta_database::Tx;
use parta_feed::HandleError;
use parta_ids::{AssignmentId, EnrollmentId, GuardianshipId, MemberId, OrgId, TypedId as _, UnitId};
use parta_proto::time;
use parta_proto_membership::v1::{
    AssignmentKind, MembershipEvent, Role as PbRole, membership_event::Payload,
};
use sea_orm::{
    ColumnTrait as _, EntityTrait as _, IntoActiveModel, QueryFilter as _, QuerySelect as _,
    sea_query::OnConflict,
};

use crate::{
    Change, Role,
    entities::{assignment, enrollment, guardianship, relation_limit},
    member_rows::MemberRow,
    organizations::id,
};

/// The largest number of rows of one statement, far below the limit of parameters.
const RUN_MAX_ROWS: usize = 500;

/// Events whose rows are written by one statement. No two of them are about the same row, because a statement
/// changes a row once.
pub(crate) enum Run<'a> {
    Members(Vec<MemberRow>),
    Assignments(Vec<assignment::Model>),
    Enrollments(Vec<enrollment::Model>),
    Guardianships(Vec<guardianship::Model>),
    /// Another event.
    One(&'a Payload),
}

impl<'a> Run<'a> {
    /// Returns the run of one event.
    fn of(org: OrgId, payload: &'a Payload) -> Result<Self, HandleError> {
        Ok(match payload {
            Payload::MemberAdmitted(admitted) => Self::Members(vec![MemberRow {
                member_id: id(&admitted.member_id)?,
                state: admitted.state,
                roles: mask(admitted.roles()),
                teacher_verified: admitted.teacher_verified,
                release_count: admitted.release_count,
                removed_for_cause: admitted.removed_for_cause,
            }]),
            Payload::MemberChanged(changed) => Self::Members(vec![MemberRow {
                member_id: id(&changed.member_id)?,
                state: changed.state,
                roles: mask(changed.roles()),
                teacher_verified: changed.teacher_verified,
                release_count: changed.release_count,
                removed_for_cause: changed.removed_for_cause,
            }]),
            Payload::AssignmentCreated(made) => match made.kind() {
                // An assignment of a kind that this build does not know grants nothing, so it has no row.
                AssignmentKind::Unspecified => Self::One(payload),
                kind @ (AssignmentKind::ClassTeacher | AssignmentKind::SubjectTeacher) => {
                    Self::Assignments(vec![assignment::Model {
                        org_id: org.uuid(),
                        assignment_id: id::<AssignmentId>(&made.assignment_id)?.uuid(),
                        member_id: id::<MemberId>(&made.member_id)?.uuid(),
                        unit_id: id::<UnitId>(&made.unit_id)?.uuid(),
                        class_teacher: kind == AssignmentKind::ClassTeacher,
                        substitution: made.substitution,
                        begin_time: made.begin_time.as_ref().and_then(time),
                        seen: true,
                    }])
                }
            },
            Payload::EnrollmentBegun(begun) => Self::Enrollments(vec![enrollment::Model {
                org_id: org.uuid(),
                enrollment_id: id::<EnrollmentId>(&begun.enrollment_id)?.uuid(),
                member_id: id::<MemberId>(&begun.member_id)?.uuid(),
                unit_id: id::<UnitId>(&begun.unit_id)?.uuid(),
                begin_time: begun.begin_time.as_ref().and_then(time),
                seen: true,
            }]),
            Payload::GuardianshipEstablished(made) => Self::Guardianships(vec![guardianship::Model {
                org_id: org.uuid(),
                guardianship_id: id::<GuardianshipId>(&made.guardianship_id)?.uuid(),
                guardian_id: id::<MemberId>(&made.guardian_id)?.uuid(),
                child_id: id::<MemberId>(&made.child_id)?.uuid(),
                confirmed: made.confirmed,
                unit_rooms_only: made.unit_rooms_only,
                begin_time: made.begin_time.as_ref().and_then(time),
                seen: true,
            }]),
            other => Self::One(other),
        })
    }

    /// Adds the rows of another run, or returns it if it has to be written apart.
    fn join(&mut self, next: Self) -> Option<Self> {
        let is_one = match (&*self, &next) {
            (Self::Members(rows), Self::Members(more)) => fit(rows, more, |row| row.member_id),
            (Self::Assignments(rows), Self::Assignments(more)) => fit(rows, more, |row| row.assignment_id),
            (Self::Enrollments(rows), Self::Enrollments(more)) => fit(rows, more, |row| row.enrollment_id),
            (Self::Guardianships(rows), Self::Guardianships(more)) => {
                fit(rows, more, |row| row.guardianship_id)
            }
            _ => false,
        };
        match (self, next) {
            (Self::Members(rows), Self::Members(more)) if is_one => rows.extend(more),
            (Self::Assignments(rows), Self::Assignments(more)) if is_one => rows.extend(more),
            (Self::Enrollments(rows), Self::Enrollments(more)) if is_one => rows.extend(more),
            (Self::Guardianships(rows), Self::Guardianships(more)) if is_one => rows.extend(more),
            (_, next) => return Some(next),
        }
        None
    }
}

/// Whether one statement can write all of these rows.
fn fit<T, K: PartialEq>(rows: &[T], more: &[T], key: impl Fn(&T) -> K) -> bool {
    let is_known = |row: &T| rows.iter().any(|known| key(known) == key(row));
    rows.len() + more.len() <= RUN_MAX_ROWS && !more.iter().any(is_known)
}

/// Divides events into runs, in their order.
pub(crate) fn split(org: OrgId, events: &[MembershipEvent]) -> Result<Vec<Run<'_>>, HandleError> {
    let mut runs: Vec<Run<'_>> = Vec::new();
    for payload in events.iter().filter_map(|event| event.payload.as_ref()) {
        let next = Some(Run::of(org, payload)?);
        let next = match runs.last_mut() {
            Some(last) => next.and_then(|next| last.join(next)),
            None => next,
        };
        runs.extend(next);
    }
    Ok(runs)
}

/// Encodes the roles of an event. A role that this build does not know grants nothing.
fn mask(roles: impl Iterator<Item = PbRole>) -> i32 {
    Role::mask_of(roles.filter_map(|role| Role::try_from(role).ok()))
}

/// Writes assignments that begin. Returns their members.
pub(crate) async fn put_assignments(
    tx: &Tx,
    rows: Vec<assignment::Model>,
) -> Result<Vec<MemberId>, HandleError> {
    let members = rows
        .iter()
        .map(|row| MemberId::from_uuid(row.member_id))
        .collect();
    use assignment::Column as C;
    let known = OnConflict::columns([C::OrgId, C::AssignmentId])
        .update_columns([
            C::MemberId,
            C::UnitId,
            C::ClassTeacher,
            C::Substitution,
            C::BeginTime,
            C::Seen,
        ])
        .to_owned();
    assignment::Entity::insert_many(rows.into_iter().map(IntoActiveModel::into_active_model))
        .on_conflict(known)
        .exec_without_returning(tx)
        .await?;
    Ok(members)
}

/// Writes enrollments that begin. Returns their members.
pub(crate) async fn put_enrollments(
    tx: &Tx,
    rows: Vec<enrollment::Model>,
) -> Result<Vec<MemberId>, HandleError> {
    let members = rows
        .iter()
        .map(|row| MemberId::from_uuid(row.member_id))
        .collect();
    use enrollment::Column as C;
    let known = OnConflict::columns([C::OrgId, C::EnrollmentId])
        .update_columns([C::MemberId, C::UnitId, C::BeginTime, C::Seen])
        .to_owned();
    enrollment::Entity::insert_many(rows.into_iter().map(IntoActiveModel::into_active_model))
        .on_conflict(known)
        .exec_without_returning(tx)
        .await?;
    Ok(members)
}

/// Writes relations that begin. Returns their guardians.
pub(crate) async fn put_guardianships(
    tx: &Tx,
    rows: Vec<guardianship::Model>,
) -> Result<Vec<MemberId>, HandleError> {
    let guardians = rows
        .iter()
        .map(|row| MemberId::from_uuid(row.guardian_id))
        .collect();
    use guardianship::Column as C;
    let known = OnConflict::columns([C::OrgId, C::GuardianshipId])
        .update_columns([
            C::GuardianId,
            C::ChildId,
            C::Confirmed,
            C::UnitRoomsOnly,
            C::BeginTime,
            C::Seen,
        ])
        .to_owned();
    guardianship::Entity::insert_many(rows.into_iter().map(IntoActiveModel::into_active_model))
        .on_conflict(known)
        .exec_without_returning(tx)
        .await?;
    Ok(guardians)
}

/// Returns the changes of children, of their guardians and of those who are limited toward them, because the
/// classes of a child are part of their contexts.
pub(crate) async fn families(
    tx: &Tx,
    org: OrgId,
    children: &BTreeSet<MemberId>,
) -> Result<Vec<Change>, HandleError> {
    let children: Vec<MemberId> = children.iter().copied().collect();
    let mut people: BTreeSet<MemberId> = children.iter().copied().collect();
    for part in children.chunks(RUN_MAX_ROWS) {
        let ids = || part.iter().map(|child| child.uuid());
        let guardians: Vec<uuid::Uuid> = guardianship::Entity::find()
            .select_only()
            .column(guardianship::Column::GuardianId)
            .filter(guardianship::Column::OrgId.eq(org.uuid()))
            .filter(guardianship::Column::ChildId.is_in(ids()))
            .filter(guardianship::Column::Confirmed.eq(true))
            .into_tuple()
            .all(tx)
            .await?;
        let limited: Vec<uuid::Uuid> = relation_limit::Entity::find()
            .select_only()
            .column(relation_limit::Column::GuardianId)
            .filter(relation_limit::Column::OrgId.eq(org.uuid()))
            .filter(relation_limit::Column::ChildId.is_in(ids()))
            .into_tuple()
            .all(tx)
            .await?;
        people.extend(guardians.into_iter().chain(limited).map(MemberId::from_uuid));
    }
    Ok(people.into_iter().map(Change::Member).collect())
}
