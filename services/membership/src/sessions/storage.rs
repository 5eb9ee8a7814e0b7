//! The tables `session` and `ended_session`, and named queries over them. Sessions belong to a person and not
//! to an organization, so the queries have no scope.
use chrono::{DateTime, Utc};
use parta_database::{StorageError, table};
use parta_ids::{AccountId, OrgId, SessionId, TypedId};
use sea_orm::{
    ColumnTrait as _, Condition, ConnectionTrait, EntityTrait as _, IntoActiveModel as _, QueryFilter as _,
    QueryOrder as _, QuerySelect as _, sea_query::Expr,
};

use super::model::{SESSION_IDLE, Session};
use entity::{Column, Entity, Model};

table!(entity, "session", {
    #[sea_orm(primary_key, auto_increment = false)]
    session_id: Uuid,
    account_id: Uuid,
    generation: i64,
    create_time: DateTimeUtc,
    refresh_time: DateTimeUtc,
    end_time: Option<DateTimeUtc>,
    code_org_id: Option<Uuid>,
    confirm_time: Option<DateTimeUtc>,
});

// A session that was ended before it expired, while its tokens may live. `session` has the same fact for
// good; this table stays small, because every replica reads all of it twice a second. Its time is that of the
// clock of the database.
table!(ended, "ended_session", {
    #[sea_orm(primary_key, auto_increment = false)]
    session_id: Uuid,
    account_id: Uuid,
    end_time: DateTimeUtc,
});

impl From<Model> for Session {
    fn from(row: Model) -> Self {
        Self {
            id: SessionId::from_uuid(row.session_id),
            account_id: AccountId::from_uuid(row.account_id),
            generation: row.generation,
            create_time: row.create_time,
            refresh_time: row.refresh_time,
            end_time: row.end_time,
            code_org_id: row.code_org_id.map(OrgId::from_uuid),
            confirm_time: row.confirm_time,
        }
    }
}

pub(super) async fn insert(conn: &impl ConnectionTrait, session: &Session) -> Result<(), StorageError> {
    let row = Model {
        session_id: session.id.uuid(),
        account_id: session.account_id.uuid(),
        generation: session.generation,
        create_time: session.create_time,
        refresh_time: session.refresh_time,
        end_time: session.end_time,
        code_org_id: session.code_org_id.map(TypedId::uuid),
        confirm_time: session.confirm_time,
    };
    Entity::insert(row.into_active_model())
        .exec_without_returning(conn)
        .await?;
    Ok(())
}

/// Loads a session, also one that has ended.
pub(super) async fn find(
    conn: &impl ConnectionTrait,
    id: SessionId,
) -> Result<Option<Session>, StorageError> {
    let row = Entity::find_by_id(id.uuid()).one(conn).await?;
    Ok(row.map(Session::from))
}

/// Loads a session, also one that has ended, and locks the row until the transaction ends.
pub(super) async fn lock(
    conn: &impl ConnectionTrait,
    id: SessionId,
) -> Result<Option<Session>, StorageError> {
    let row = Entity::find_by_id(id.uuid()).lock_exclusive().one(conn).await?;
    Ok(row.map(Session::from))
}

/// Raises the generation of a session. The row must have been locked.
pub(super) async fn update_rotated(
    conn: &impl ConnectionTrait,
    session: &Session,
    now: DateTime<Utc>,
) -> Result<(), StorageError> {
    Entity::update_many()
        .col_expr(Column::Generation, Expr::value(session.generation + 1))
        .col_expr(Column::RefreshTime, Expr::value(now))
        .filter(Column::SessionId.eq(session.id.uuid()))
        .exec(conn)
        .await?;
    Ok(())
}

/// Ends a session. The row must have been locked.
pub(super) async fn update_ended(
    conn: &impl ConnectionTrait,
    id: SessionId,
    now: DateTime<Utc>,
) -> Result<(), StorageError> {
    Entity::update_many()
        .col_expr(Column::EndTime, Expr::value(now))
        .filter(Column::SessionId.eq(id.uuid()))
        .exec(conn)
        .await?;
    Ok(())
}

/// Notes that a second person confirmed the use of the code that started a session. A session that has ended,
/// or is confirmed, stays as it is.
pub(super) async fn update_confirmed(
    conn: &impl ConnectionTrait,
    id: SessionId,
    now: DateTime<Utc>,
) -> Result<(), StorageError> {
    Entity::update_many()
        .col_expr(Column::ConfirmTime, Expr::value(now))
        .filter(Column::SessionId.eq(id.uuid()))
        .filter(Column::ConfirmTime.is_null())
        .exec(conn)
        .await?;
    Ok(())
}

/// Ends all sessions that have not ended, and returns their number.
pub(super) async fn update_all_ended(
    conn: &impl ConnectionTrait,
    now: DateTime<Utc>,
) -> Result<u64, StorageError> {
    let ended = Entity::update_many()
        .col_expr(Column::EndTime, Expr::value(now))
        .filter(Column::EndTime.is_null())
        .exec(conn)
        .await?;
    Ok(ended.rows_affected)
}

/// Lists the sessions of an account that are alive, latest first.
pub(super) async fn list_alive(
    conn: &impl ConnectionTrait,
    account: AccountId,
    now: DateTime<Utc>,
    after: Option<SessionId>,
    limit: u64,
) -> Result<Vec<Session>, StorageError> {
    let rows = Entity::find()
        .filter(Column::AccountId.eq(account.uuid()))
        .filter(Column::EndTime.is_null())
        .filter(Column::RefreshTime.gt(now - SESSION_IDLE))
        .filter(Condition::all().add_option(after.map(|id| Column::SessionId.lt(id.uuid()))))
        .order_by_desc(Column::SessionId)
        .limit(limit)
        .all(conn)
        .await?;
    Ok(rows.into_iter().map(Session::from).collect())
}

/// Lists the sessions of an account that are alive, and locks them until the transaction ends, in the order
/// of their ids.
pub(super) async fn lock_alive(
    conn: &impl ConnectionTrait,
    account: AccountId,
    now: DateTime<Utc>,
) -> Result<Vec<SessionId>, StorageError> {
    let rows = Entity::find()
        .filter(Column::AccountId.eq(account.uuid()))
        .filter(Column::EndTime.is_null())
        .filter(Column::RefreshTime.gt(now - SESSION_IDLE))
        .order_by_asc(Column::SessionId)
        .lock_exclusive()
        .all(conn)
        .await?;
    Ok(rows
        .into_iter()
        .map(|row| SessionId::from_uuid(row.session_id))
        .collect())
}

/// Notes that a session was ended.
pub(super) async fn insert_ended(
    conn: &impl ConnectionTrait,
    id: SessionId,
    account: AccountId,
    now: DateTime<Utc>,
) -> Result<(), StorageError> {
    let row = ended::Model {
        session_id: id.uuid(),
        account_id: account.uuid(),
        end_time: now,
    };
    ended::Entity::insert(row.into_active_model())
        .exec_without_returning(conn)
        .await?;
    Ok(())
}

/// Forgets the sessions that were ended before `until`.
pub(crate) async fn purge_ended(
    conn: &impl ConnectionTrait,
    until: DateTime<Utc>,
) -> Result<u64, StorageError> {
    let purged = ended::Entity::delete_many()
        .filter(ended::Column::EndTime.lte(until))
        .exec(conn)
        .await?;
    Ok(purged.rows_affected)
}
/// Deletes sessions that ended, or were last refreshed so long ago that they are over, before these times.
pub(super) async fn delete_old(
    conn: &impl ConnectionTrait,
    ended_before: DateTime<Utc>,
    refreshed_before: DateTime<Utc>,
) -> Result<(), StorageError> {
    // One statement each, for the index of each time.
    for old in [
        Column::EndTime.lt(ended_before),
        Column::RefreshTime.lt(refreshed_before),
    ] {
        Entity::delete_many().filter(old).exec(conn).await?;
    }
    Ok(())
}
