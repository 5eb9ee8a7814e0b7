//! The table `room_entrant` and named queries over it.
use chrono::{DateTime, Utc};
use parta_access::OrgScope;
use parta_database::{StorageError, Tx, table};
use parta_ids::{CallId, MemberId, TypedId as _, Uuid};
use sea_orm::{
    ActiveValue::Set,
    ColumnTrait as _, Condition as Where, ConnectionTrait, EntityTrait as _, QueryFilter as _,
    QueryOrder as _, QuerySelect as _,
    sea_query::{Expr, OnConflict},
};

use super::{
    jobs,
    model::{Entrant, Room},
};

table!(entrant, "room_entrant", {
    #[sea_orm(primary_key, auto_increment = false)]
    org_id: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    call_id: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    start_time: DateTimeUtc,
    #[sea_orm(primary_key, auto_increment = false)]
    member_id: Uuid,
    host: bool,
    close_time: DateTimeUtc,
    remove_time: Option<DateTimeUtc>,
});

/// The members of open rooms whom a change of facts may concern.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Affected<'a> {
    /// Everybody of the organization.
    Everybody,
    /// Members in any room.
    Members(&'a [MemberId]),
    /// Everybody in the rooms of these calls.
    Calls(&'a [CallId]),
}

fn by_key(scope: &OrgScope, room: Room, member: MemberId) -> Where {
    Where::all()
        .add(entrant::Column::OrgId.eq(scope.org_id().uuid()))
        .add(entrant::Column::CallId.eq(room.call_id.uuid()))
        .add(entrant::Column::StartTime.eq(room.start_time))
        .add(entrant::Column::MemberId.eq(member.uuid()))
}

fn of_row(row: &entrant::Model) -> Entrant {
    Entrant {
        room: Room {
            call_id: CallId::from_uuid(row.call_id),
            start_time: row.start_time,
        },
        member_id: MemberId::from_uuid(row.member_id),
        host: row.host,
        close_time: row.close_time,
        remove_time: row.remove_time,
    }
}

/// Notes that a member may enter a room, also one who had to leave it before, and enqueues the judgment by
/// the facts that were committed meanwhile.
pub(crate) async fn admit(tx: &Tx, scope: &OrgScope, admitted: &Entrant) -> Result<(), StorageError> {
    use entrant::Column;
    let row = entrant::ActiveModel {
        org_id: Set(scope.org_id().uuid()),
        call_id: Set(admitted.room.call_id.uuid()),
        start_time: Set(admitted.room.start_time),
        member_id: Set(admitted.member_id.uuid()),
        host: Set(admitted.host),
        close_time: Set(admitted.close_time),
        remove_time: Set(None),
    };
    let key = [Column::OrgId, Column::CallId, Column::StartTime, Column::MemberId];
    let again = OnConflict::columns(key)
        .update_columns([Column::Host, Column::CloseTime, Column::RemoveTime])
        .to_owned();
    entrant::Entity::insert(row)
        .on_conflict(again)
        .exec_without_returning(tx)
        .await?;
    jobs::judge(tx, scope, admitted).await
}

/// Loads a member of a room and locks the row until the transaction ends.
pub(crate) async fn lock(
    tx: &Tx,
    scope: &OrgScope,
    room: Room,
    member: MemberId,
) -> Result<Option<Entrant>, StorageError> {
    let row = entrant::Entity::find()
        .filter(by_key(scope, room, member))
        .lock_exclusive()
        .one(tx)
        .await?;
    Ok(row.as_ref().map(of_row))
}

/// Notes since when a member must be out of a room.
pub(crate) async fn update_removed(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    of: &Entrant,
    now: DateTime<Utc>,
) -> Result<(), StorageError> {
    entrant::Entity::update_many()
        .col_expr(entrant::Column::RemoveTime, Expr::value(now))
        .filter(by_key(scope, of.room, of.member_id))
        .exec(conn)
        .await?;
    Ok(())
}

/// Lists the calls with a room that has not closed, in which members may be.
pub(crate) async fn list_open_calls(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    now: DateTime<Utc>,
) -> Result<Vec<CallId>, StorageError> {
    let rows: Vec<Uuid> = entrant::Entity::find()
        .select_only()
        .column(entrant::Column::CallId)
        .distinct()
        .filter(entrant::Column::OrgId.eq(scope.org_id().uuid()))
        .filter(entrant::Column::CloseTime.gt(now))
        .into_tuple()
        .all(conn)
        .await?;
    Ok(rows.into_iter().map(CallId::from_uuid).collect())
}

/// Enqueues the judgment of the affected members of rooms that have not closed.
pub(crate) async fn judge_again(
    tx: &Tx,
    scope: &OrgScope,
    affected: Affected<'_>,
) -> Result<(), StorageError> {
    use entrant::Column;
    let of = match affected {
        Affected::Everybody => Where::all(),
        Affected::Members(members) => {
            Where::all().add(Column::MemberId.is_in(members.iter().map(|id| id.uuid())))
        }
        Affected::Calls(calls) => Where::all().add(Column::CallId.is_in(calls.iter().map(|id| id.uuid()))),
    };
    let rows = entrant::Entity::find()
        .filter(Column::OrgId.eq(scope.org_id().uuid()))
        .filter(Column::CloseTime.gt(tx.now()))
        .filter(Column::RemoveTime.is_null())
        .filter(of)
        .order_by_asc(Column::MemberId)
        .all(tx)
        .await?;
    for row in &rows {
        jobs::judge(tx, scope, &of_row(row)).await?;
    }
    Ok(())
}

/// Deletes the members of rooms that closed before a time.
pub(crate) async fn delete_closed(
    conn: &impl ConnectionTrait,
    closed_before: DateTime<Utc>,
) -> Result<(), StorageError> {
    entrant::Entity::delete_many()
        .filter(entrant::Column::CloseTime.lt(closed_before))
        .exec(conn)
        .await?;
    Ok(())
}
