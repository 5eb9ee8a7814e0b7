//! Named queries over what is known of single occurrences.
use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use parta_access::OrgScope;
use parta_ids::{CallId, OrgId, TypedId as _};
use sea_orm::{
    ActiveValue::Set,
    ColumnTrait as _, Condition as Where, ConnectionTrait, DbErr, EntityTrait as _, QueryFilter as _,
    QueryOrder as _,
    sea_query::{Expr, OnConflict},
};

use super::entities::occurrence::{ActiveModel, Column, Entity};

/// What is known of one occurrence.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Known {
    pub(crate) cancelled: bool,
    pub(crate) staff_came: bool,
}

fn of(scope: &OrgScope, call: CallId, start: DateTime<Utc>) -> Where {
    Where::all()
        .add(Column::OrgId.eq(scope.org_id().uuid()))
        .add(Column::CallId.eq(call.uuid()))
        .add(Column::StartTime.eq(start))
}

pub(crate) async fn find(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    call: CallId,
    start: DateTime<Utc>,
) -> Result<Known, DbErr> {
    let row = Entity::find().filter(of(scope, call, start)).one(conn).await?;
    Ok(row.map_or_else(Known::default, |r| Known {
        cancelled: r.cancel_time.is_some(),
        staff_came: r.staff_arrive_time.is_some(),
    }))
}

async fn ensure(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    call: CallId,
    start: DateTime<Utc>,
) -> Result<(), DbErr> {
    let row = ActiveModel {
        org_id: Set(scope.org_id().uuid()),
        call_id: Set(call.uuid()),
        start_time: Set(start),
        cancel_time: Set(None),
        staff_arrive_time: Set(None),
    };
    Entity::insert(row)
        .on_conflict(OnConflict::new().do_nothing().to_owned())
        .exec_without_returning(conn)
        .await?;
    Ok(())
}

async fn note(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    call: CallId,
    start: DateTime<Utc>,
    column: Column,
    now: DateTime<Utc>,
) -> Result<bool, DbErr> {
    ensure(conn, scope, call, start).await?;
    let done = Entity::update_many()
        .col_expr(column, Expr::value(now))
        .filter(of(scope, call, start).add(column.is_null()))
        .exec(conn)
        .await?;
    Ok(done.rows_affected == 1)
}

/// Cancels the occurrence unless it is cancelled; `false`: it was.
pub(crate) async fn update_cancelled(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    call: CallId,
    start: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<bool, DbErr> {
    note(conn, scope, call, start, Column::CancelTime, now).await
}

/// Notes the first coming of staff.
pub(crate) async fn update_staff_came(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    call: CallId,
    start: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<bool, DbErr> {
    note(conn, scope, call, start, Column::StaffArriveTime, now).await
}

/// Which occurrences that start in a window are cancelled.
pub(crate) async fn list_cancelled(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    window: (DateTime<Utc>, DateTime<Utc>),
) -> Result<BTreeSet<(CallId, DateTime<Utc>)>, DbErr> {
    let rows = Entity::find()
        .filter(Column::OrgId.eq(scope.org_id().uuid()))
        .filter(Column::StartTime.gte(window.0))
        .filter(Column::StartTime.lt(window.1))
        .filter(Column::CancelTime.is_not_null())
        .all(conn)
        .await?;
    Ok(rows
        .into_iter()
        .map(|r| (CallId::from_uuid(r.call_id), r.start_time))
        .collect())
}

/// All cancelled occurrences, for the snapshot of the feed.
pub(crate) async fn list_for_snapshot(
    conn: &impl ConnectionTrait,
    org: Option<OrgId>,
) -> Result<Vec<(OrgId, CallId, DateTime<Utc>)>, DbErr> {
    let rows = Entity::find()
        .filter(Column::CancelTime.is_not_null())
        .filter(Where::all().add_option(org.map(|o| Column::OrgId.eq(o.uuid()))))
        .order_by_asc(Column::OrgId)
        .order_by_asc(Column::CallId)
        .order_by_asc(Column::StartTime)
        .all(conn)
        .await?;
    Ok(rows
        .into_iter()
        .map(|r| {
            (
                OrgId::from_uuid(r.org_id),
                CallId::from_uuid(r.call_id),
                r.start_time,
            )
        })
        .collect())
}
