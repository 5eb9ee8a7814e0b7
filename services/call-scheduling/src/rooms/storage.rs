//! The tables `room` and `room_entrant`, and named queries over them.
use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use parta_access::OrgScope;
use parta_database::{StorageError, Tx, table};
use parta_ids::{CallId, MemberId, SessionId, TypedId as _, Uuid};
use sea_orm::{
    ActiveValue::Set,
    ColumnTrait as _, Condition as Where, ConnectionTrait, EntityTrait as _, QueryFilter as _,
    QueryOrder as _, QuerySelect as _,
    sea_query::{Expr, OnConflict},
};

use super::{
    jobs,
    model::{Entrant, Label, OpenRoom, Room, Standing},
};

table!(room, "room", {
    #[sea_orm(primary_key, auto_increment = false)]
    org_id: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    call_id: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    start_time: DateTimeUtc,
    close_time: DateTimeUtc,
    token_time: Option<DateTimeUtc>,
    seen_time: Option<DateTimeUtc>,
    look_id: Uuid,
});

table!(entrant, "room_entrant", {
    #[sea_orm(primary_key, auto_increment = false)]
    org_id: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    call_id: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    start_time: DateTimeUtc,
    #[sea_orm(primary_key, auto_increment = false)]
    identity: String,
    member_id: Uuid,
    session_id: Uuid,
    host: bool,
    label: i16,
    close_time: DateTimeUtc,
    session_ended: bool,
});

/// The rooms with people whom a change of facts may concern.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Affected<'a> {
    /// All rooms of the organization.
    Everybody,
    /// The rooms to which these members were admitted.
    Members(&'a [MemberId]),
    /// The rooms of these calls.
    Calls(&'a [CallId]),
}

/// The result of a look into a room.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Looked {
    pub(crate) token_time: Option<DateTime<Utc>>,
    pub(crate) seen_time: Option<DateTime<Utc>>,
    /// The last time when people were found in the room.
    pub(crate) found_time: Option<DateTime<Utc>>,
    /// The time of the next look; `None` after the last one.
    pub(crate) next: Option<DateTime<Utc>>,
}

fn of_room(scope: &OrgScope, of: Room) -> Where {
    Where::all()
        .add(room::Column::OrgId.eq(scope.org_id().uuid()))
        .add(room::Column::CallId.eq(of.call_id.uuid()))
        .add(room::Column::StartTime.eq(of.start_time))
}

fn entrants_of(scope: &OrgScope, of: Room) -> Where {
    Where::all()
        .add(entrant::Column::OrgId.eq(scope.org_id().uuid()))
        .add(entrant::Column::CallId.eq(of.call_id.uuid()))
        .add(entrant::Column::StartTime.eq(of.start_time))
}

fn room_of_row(row: &room::Model) -> OpenRoom {
    OpenRoom {
        room: Room {
            call_id: CallId::from_uuid(row.call_id),
            start_time: row.start_time,
        },
        close_time: row.close_time,
        token_time: row.token_time,
        seen_time: row.seen_time,
        look_id: row.look_id,
    }
}

fn entrant_of_row(row: entrant::Model) -> Result<Entrant, StorageError> {
    let label = Label::from_number(row.label);
    Ok(Entrant {
        room: Room {
            call_id: CallId::from_uuid(row.call_id),
            start_time: row.start_time,
        },
        identity: row.identity,
        member_id: MemberId::from_uuid(row.member_id),
        session_id: SessionId::from_uuid(row.session_id),
        standing: Standing {
            host: row.host,
            label: label.ok_or_else(|| StorageError::unknown_value("room_entrant.label", row.label))?,
        },
        close_time: row.close_time,
        session_ended: row.session_ended,
    })
}

pub(crate) async fn find(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    of: Room,
) -> Result<Option<OpenRoom>, StorageError> {
    let row = room::Entity::find().filter(of_room(scope, of)).one(conn).await?;
    Ok(row.as_ref().map(room_of_row))
}

/// Opens a room until it closes, unless it is open, and enqueues the first look into it. A look that the
/// operator has deleted is enqueued too.
pub(crate) async fn open(
    tx: &Tx,
    scope: &OrgScope,
    of: Room,
    close_time: DateTime<Utc>,
) -> Result<OpenRoom, StorageError> {
    let row = room::ActiveModel {
        org_id: Set(scope.org_id().uuid()),
        call_id: Set(of.call_id.uuid()),
        start_time: Set(of.start_time),
        close_time: Set(close_time),
        token_time: Set(None),
        seen_time: Set(None),
        look_id: Set(tx.env().ids.uuid()),
    };
    room::Entity::insert(row)
        .on_conflict(OnConflict::new().do_nothing().to_owned())
        .exec_without_returning(tx)
        .await?;
    let open = find(tx, scope, of).await?;
    let open = open.ok_or_else(|| StorageError::Fault("a room was not stored".to_owned()))?;
    jobs::look_at(tx, scope, &open, None, tx.now()).await?;
    Ok(open)
}

/// Notes that a member of the staff got a token, and makes the next look due. A token that follows another
/// one of whom nobody has been seen changes nothing.
pub(crate) async fn expect_staff(tx: &Tx, scope: &OrgScope, open: &OpenRoom) -> Result<(), StorageError> {
    room::Entity::update_many()
        .col_expr(room::Column::TokenTime, Expr::value(tx.now()))
        .filter(of_room(scope, open.room))
        .filter(room::Column::TokenTime.is_null())
        .exec(tx)
        .await?;
    jobs::look_now(tx, scope, open).await
}

/// Notes that a person may enter a room.
pub(crate) async fn admit(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    admitted: &Entrant,
) -> Result<(), StorageError> {
    let row = entrant::ActiveModel {
        org_id: Set(scope.org_id().uuid()),
        call_id: Set(admitted.room.call_id.uuid()),
        start_time: Set(admitted.room.start_time),
        identity: Set(admitted.identity.clone()),
        member_id: Set(admitted.member_id.uuid()),
        session_id: Set(admitted.session_id.uuid()),
        host: Set(admitted.standing.host),
        label: Set(admitted.standing.label.number()),
        close_time: Set(admitted.close_time),
        session_ended: Set(admitted.session_ended),
    };
    entrant::Entity::insert(row)
        .on_conflict(OnConflict::new().do_nothing().to_owned())
        .exec_without_returning(conn)
        .await?;
    Ok(())
}

/// Loads a room and locks its row until the transaction ends.
pub(crate) async fn lock(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    of: Room,
) -> Result<Option<OpenRoom>, StorageError> {
    let row = room::Entity::find()
        .filter(of_room(scope, of))
        .lock_exclusive()
        .one(conn)
        .await?;
    Ok(row.as_ref().map(room_of_row))
}

/// Lists the people who were admitted to a room.
pub(crate) async fn list_entrants(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    of: Room,
) -> Result<Vec<Entrant>, StorageError> {
    let rows = entrant::Entity::find()
        .filter(entrants_of(scope, of))
        .order_by_asc(entrant::Column::Identity)
        .all(conn)
        .await?;
    rows.into_iter().map(entrant_of_row).collect()
}

/// Notes that the sessions of these identities have ended.
pub(crate) async fn end_sessions(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    of: Room,
    identities: &[&str],
) -> Result<(), StorageError> {
    entrant::Entity::update_many()
        .col_expr(entrant::Column::SessionEnded, Expr::value(true))
        .filter(entrants_of(scope, of))
        .filter(entrant::Column::Identity.is_in(identities.iter().copied()))
        .exec(conn)
        .await?;
    Ok(())
}

/// Notes what a look has seen, and enqueues the next one.
pub(crate) async fn update_looked(
    tx: &Tx,
    scope: &OrgScope,
    open: &OpenRoom,
    looked: Looked,
) -> Result<(), StorageError> {
    let next = OpenRoom {
        look_id: tx.env().ids.uuid(),
        ..*open
    };
    room::Entity::update_many()
        .col_expr(room::Column::TokenTime, Expr::value(looked.token_time))
        .col_expr(room::Column::SeenTime, Expr::value(looked.seen_time))
        .col_expr(room::Column::LookId, Expr::value(next.look_id))
        .filter(of_room(scope, open.room))
        .exec(tx)
        .await?;
    match looked.next {
        Some(due) => jobs::look_at(tx, scope, &next, looked.found_time, due).await,
        None => Ok(()),
    }
}

/// Lists the calls with a room that has not closed.
pub(crate) async fn list_open_calls(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    now: DateTime<Utc>,
) -> Result<Vec<CallId>, StorageError> {
    let rows: Vec<Uuid> = room::Entity::find()
        .select_only()
        .column(room::Column::CallId)
        .distinct()
        .filter(room::Column::OrgId.eq(scope.org_id().uuid()))
        .filter(room::Column::CloseTime.gt(now))
        .into_tuple()
        .all(conn)
        .await?;
    Ok(rows.into_iter().map(CallId::from_uuid).collect())
}

/// Makes the next look into each affected room that has not closed due at once.
pub(crate) async fn look_again(
    tx: &Tx,
    scope: &OrgScope,
    affected: Affected<'_>,
) -> Result<(), StorageError> {
    let rows = room::Entity::find()
        .filter(room::Column::OrgId.eq(scope.org_id().uuid()))
        .filter(room::Column::CloseTime.gt(tx.now()))
        .order_by_asc(room::Column::CallId)
        .order_by_asc(room::Column::StartTime);
    let rows = match affected {
        Affected::Calls(calls) => rows.filter(room::Column::CallId.is_in(calls.iter().map(|id| id.uuid()))),
        Affected::Everybody | Affected::Members(_) => rows,
    };
    let mut rooms: Vec<OpenRoom> = rows.all(tx).await?.iter().map(room_of_row).collect();
    if let Affected::Members(members) = affected {
        let admitted = list_rooms_of(tx, scope, members).await?;
        rooms.retain(|open| admitted.contains(&open.room));
    }
    for open in &rooms {
        jobs::look_now(tx, scope, open).await?;
    }
    Ok(())
}

/// Lists the rooms to which these members were admitted.
async fn list_rooms_of(
    tx: &Tx,
    scope: &OrgScope,
    members: &[MemberId],
) -> Result<BTreeSet<Room>, StorageError> {
    let rows = entrant::Entity::find()
        .filter(entrant::Column::OrgId.eq(scope.org_id().uuid()))
        .filter(entrant::Column::CloseTime.gt(tx.now()))
        .filter(entrant::Column::MemberId.is_in(members.iter().map(|id| id.uuid())))
        .all(tx)
        .await?;
    let room = |row: &entrant::Model| Room {
        call_id: CallId::from_uuid(row.call_id),
        start_time: row.start_time,
    };
    Ok(rows.iter().map(room).collect())
}

/// Deletes the rooms that closed before a time, and the people who were admitted to them.
pub(crate) async fn delete_closed(
    conn: &impl ConnectionTrait,
    closed_before: DateTime<Utc>,
) -> Result<(), StorageError> {
    entrant::Entity::delete_many()
        .filter(entrant::Column::CloseTime.lt(closed_before))
        .exec(conn)
        .await?;
    room::Entity::delete_many()
        .filter(room::Column::CloseTime.lt(closed_before))
        .exec(conn)
        .await?;
    Ok(())
}
