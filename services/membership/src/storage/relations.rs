//! Named queries over what relates members to units: assignments and enrollments. Ended rows stay as history.
use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use parta_access::OrgScope;
use parta_ids::{AssignmentId, MemberId, OrgId, TypedId as _, UnitId, Uuid};
use sea_orm::{
    ColumnTrait as _, Condition, ConnectionTrait, DbErr, EntityTrait as _, IntoActiveModel as _,
    QueryFilter as _, QueryOrder as _, QuerySelect as _,
    sea_query::{Expr, OnConflict},
};

use super::entities::{assignment, enrollment};
pub(crate) use super::entities::{assignment::Model as Assignment, enrollment::Model as Enrollment};

macro_rules! insert_once {
    ($(#[$doc:meta])* $name:ident, $module:ident) => {
        $(#[$doc])*
        pub(crate) async fn $name(
            conn: &impl ConnectionTrait,
            _scope: &OrgScope,
            row: &$module::Model,
        ) -> Result<bool, DbErr> {
            let done = $module::Entity::insert(row.clone().into_active_model())
                .on_conflict(OnConflict::new().do_nothing().to_owned())
                .exec_without_returning(conn)
                .await?;
            Ok(done == 1)
        }
    };
}

insert_once!(/** Keeps a task; `false` if the same one is living. */ insert_assignment, assignment);
insert_once!(/** Keeps an enrollment; `false` if the same one is living. */ insert_enrollment, enrollment);

/// Ends a task; `false` if there is no living one.
pub(crate) async fn end_assignment(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    id: AssignmentId,
    now: DateTime<Utc>,
) -> Result<bool, DbErr> {
    use assignment::Column;
    let done = assignment::Entity::update_many()
        .col_expr(Column::EndTime, Expr::value(now))
        .filter(Column::OrgId.eq(scope.org_id().uuid()))
        .filter(Column::AssignmentId.eq(id.uuid()))
        .filter(Column::EndTime.is_null())
        .exec(conn)
        .await?;
    Ok(done.rows_affected == 1)
}

/// Ends the living enrollment of a pupil in a class and answers its id.
pub(crate) async fn end_enrollment(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    member: MemberId,
    unit: UnitId,
    now: DateTime<Utc>,
) -> Result<Option<Uuid>, DbErr> {
    use enrollment::Column;
    let living = Condition::all()
        .add(Column::OrgId.eq(scope.org_id().uuid()))
        .add(Column::MemberId.eq(member.uuid()))
        .add(Column::UnitId.eq(unit.uuid()))
        .add(Column::EndTime.is_null());
    let Some(row) = enrollment::Entity::find()
        .filter(living.clone())
        .lock_exclusive()
        .one(conn)
        .await?
    else {
        return Ok(None);
    };
    enrollment::Entity::update_many()
        .col_expr(Column::EndTime, Expr::value(now))
        .filter(living)
        .exec(conn)
        .await?;
    Ok(Some(row.enrollment_id))
}

/// What ended with a member's leaving.
pub(crate) struct Ended {
    pub(crate) assignments: Vec<Uuid>,
    pub(crate) enrollments: Vec<Uuid>,
}

/// Ends everything that relates a member to units.
pub(crate) async fn end_all(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    member: MemberId,
    now: DateTime<Utc>,
) -> Result<Ended, DbErr> {
    let (org, id) = (scope.org_id().uuid(), member.uuid());
    let tasks = Condition::all()
        .add(assignment::Column::OrgId.eq(org))
        .add(assignment::Column::MemberId.eq(id))
        .add(assignment::Column::EndTime.is_null());
    let classes = Condition::all()
        .add(enrollment::Column::OrgId.eq(org))
        .add(enrollment::Column::MemberId.eq(id))
        .add(enrollment::Column::EndTime.is_null());
    let assignments = assignment::Entity::find().filter(tasks.clone()).all(conn).await?;
    let enrollments = enrollment::Entity::find()
        .filter(classes.clone())
        .all(conn)
        .await?;
    let end = |column| (column, Expr::value(now));
    let (column, value) = end(assignment::Column::EndTime);
    assignment::Entity::update_many()
        .col_expr(column, value)
        .filter(tasks)
        .exec(conn)
        .await?;
    enrollment::Entity::update_many()
        .col_expr(enrollment::Column::EndTime, Expr::value(now))
        .filter(classes)
        .exec(conn)
        .await?;
    Ok(Ended {
        assignments: assignments.into_iter().map(|row| row.assignment_id).collect(),
        enrollments: enrollments.into_iter().map(|row| row.enrollment_id).collect(),
    })
}

/// The living classes of these members.
pub(crate) async fn classes_of(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    members: &[Uuid],
) -> Result<Vec<Enrollment>, DbErr> {
    use enrollment::Column;
    enrollment::Entity::find()
        .filter(Column::OrgId.eq(scope.org_id().uuid()))
        .filter(Column::MemberId.is_in(members.iter().copied()))
        .filter(Column::EndTime.is_null())
        .order_by_asc(Column::EnrollmentId)
        .all(conn)
        .await
}

/// The living tasks, limited to units, a member and a unit.
pub(crate) async fn list_assignments(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    units: Option<&BTreeSet<UnitId>>,
    member: Option<MemberId>,
    after: Option<AssignmentId>,
    now: DateTime<Utc>,
    limit: u64,
) -> Result<Vec<Assignment>, DbErr> {
    use assignment::Column;
    let lasting = Condition::any()
        .add(Column::ExpireTime.is_null())
        .add(Column::ExpireTime.gt(now));
    assignment::Entity::find()
        .filter(Column::OrgId.eq(scope.org_id().uuid()))
        .filter(Column::EndTime.is_null())
        .filter(lasting)
        .filter(
            Condition::all()
                .add_option(units.map(|units| Column::UnitId.is_in(units.iter().map(|u| u.uuid()))))
                .add_option(member.map(|id| Column::MemberId.eq(id.uuid())))
                .add_option(after.map(|id| Column::AssignmentId.gt(id.uuid()))),
        )
        .order_by_asc(Column::AssignmentId)
        .limit(limit)
        .all(conn)
        .await
}

/// Ends the living task of this kind that has run out, so that it may be given again.
pub(crate) async fn end_expired(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    member: MemberId,
    now: DateTime<Utc>,
) -> Result<Vec<Uuid>, DbErr> {
    use assignment::Column;
    let out = Condition::all()
        .add(Column::OrgId.eq(scope.org_id().uuid()))
        .add(Column::MemberId.eq(member.uuid()))
        .add(Column::EndTime.is_null())
        .add(Column::ExpireTime.lte(now));
    let rows = assignment::Entity::find().filter(out.clone()).all(conn).await?;
    assignment::Entity::update_many()
        .col_expr(Column::EndTime, Expr::value(now))
        .filter(out)
        .exec(conn)
        .await?;
    Ok(rows.into_iter().map(|row| row.assignment_id).collect())
}

macro_rules! living {
    ($(#[$doc:meta])* $name:ident, $module:ident) => {
        $(#[$doc])*
        pub(crate) async fn $name(conn: &impl ConnectionTrait, org: Option<OrgId>) -> Result<Vec<$module::Model>, DbErr> {
            $module::Entity::find()
                .filter($module::Column::EndTime.is_null())
                .filter(Condition::all().add_option(org.map(|o| $module::Column::OrgId.eq(o.uuid()))))
                .all(conn)
                .await
        }
    };
}

living!(/** Living tasks, for the snapshot of the feed. */ assignments_for_snapshot, assignment);
living!(/** Living enrollments, for the snapshot of the feed. */ enrollments_for_snapshot, enrollment);
