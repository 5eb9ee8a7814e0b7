//! The table `occurrence`, the occurrences that were canceled by themselves, and named queries over it.
use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use parta_access::OrgScope;
use parta_database::StorageError;
use parta_ids::{CallId, OrgId, TypedId as _};
use sea_orm::{
    ActiveValue::Set,
    ColumnTrait as _, Condition as Where, ConnectionTrait, EntityTrait as _, QueryFilter as _,
    QueryOrder as _,
    sea_query::{Expr, OnConflict},
};

use super::entities::occurrence::{ActiveModel, Column, Entity};

fn by_start(scope: &OrgScope, call: CallId, start: DateTime<Utc>) -> Where {
    Where::all()
        .add(Column::OrgId.eq(scope.org_id().uuid()))
        .add(Column::CallId.eq(call.uuid()))
        .add(Column::StartTime.eq(start))
}

/// Returns whether the occurrence was canceled by itself.
pub(crate) async fn is_canceled(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    call: CallId,
    start: DateTime<Utc>,
) -> Result<bool, StorageError> {
    let row = Entity::find()
        .filter(by_start(scope, call, start))
        .one(conn)
        .await?;
    Ok(row.is_some_and(|row| row.cancel_time.is_some()))
}

/// Cancels the occurrence; returns `false` if it was canceled before.
pub(crate) async fn update_occurrence_canceled(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    call: CallId,
    start: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<bool, StorageError> {
    let row = ActiveModel {
        org_id: Set(scope.org_id().uuid()),
        call_id: Set(call.uuid()),
        start_time: Set(start),
        cancel_time: Set(None),
    };
    Entity::insert(row)
        .on_conflict(OnConflict::new().do_nothing().to_owned())
        .exec_without_returning(conn)
        .await?;
    let done = Entity::update_many()
        .col_expr(Column::CancelTime, Expr::value(now))
        .filter(by_start(scope, call, start).add(Column::CancelTime.is_null()))
        .exec(conn)
        .await?;
    Ok(done.rows_affected == 1)
}

/// Lists the canceled occurrences that start within the window.
pub(crate) async fn list_canceled(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    window: (DateTime<Utc>, DateTime<Utc>),
) -> Result<BTreeSet<(CallId, DateTime<Utc>)>, StorageError> {
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

/// Lists the canceled occurrences of an organization, for the snapshot of the feed.
pub(crate) async fn list_for_snapshot(
    conn: &impl ConnectionTrait,
    org: OrgId,
) -> Result<Vec<(CallId, DateTime<Utc>)>, StorageError> {
    let rows = Entity::find()
        .filter(Column::CancelTime.is_not_null())
        .filter(Column::OrgId.eq(org.uuid()))
        .order_by_asc(Column::OrgId)
        .order_by_asc(Column::CallId)
        .order_by_asc(Column::StartTime)
        .all(conn)
        .await?;
    Ok(rows
        .into_iter()
        .map(|r| (CallId::from_uuid(r.call_id), r.start_time))
        .collect())
}
