//! Named queries over sessions. They belong to a person, not to an organization.
use chrono::{DateTime, Utc};
use parta_ids::{AccountId, SessionId, TypedId as _, Uuid};
use sea_orm::{
    ActiveValue::Set, ColumnTrait as _, Condition, ConnectionTrait, DbErr, EntityTrait as _,
    QueryFilter as _, QueryOrder as _, QuerySelect as _, sea_query::Expr,
};

pub(crate) use crate::entities::session::Model as Session;
use crate::entities::session::{ActiveModel, Column, Entity};
use crate::sign_in::model::SESSION_IDLE;

pub(crate) async fn insert(
    conn: &impl ConnectionTrait,
    id: SessionId,
    account: AccountId,
    now: DateTime<Utc>,
) -> Result<(), DbErr> {
    let row = ActiveModel {
        session_id: Set(id.uuid()),
        account_id: Set(account.uuid()),
        generation: Set(1),
        refresh_request: Set(None),
        create_time: Set(now),
        refresh_time: Set(now),
        end_time: Set(None),
    };
    Entity::insert(row).exec_without_returning(conn).await?;
    Ok(())
}

fn living(now: DateTime<Utc>) -> Condition {
    Condition::all()
        .add(Column::EndTime.is_null())
        .add(Column::RefreshTime.gt(now - SESSION_IDLE))
}

/// A living session.
pub(crate) async fn find(
    conn: &impl ConnectionTrait,
    id: SessionId,
    now: DateTime<Utc>,
) -> Result<Option<Session>, DbErr> {
    Entity::find_by_id(id.uuid()).filter(living(now)).one(conn).await
}

/// A living session, kept from others until the transaction ends.
pub(crate) async fn lock(
    conn: &impl ConnectionTrait,
    id: SessionId,
    now: DateTime<Utc>,
) -> Result<Option<Session>, DbErr> {
    Entity::find_by_id(id.uuid())
        .filter(living(now))
        .lock_exclusive()
        .one(conn)
        .await
}

pub(crate) async fn update_rotated(
    conn: &impl ConnectionTrait,
    session: &Session,
    request: Uuid,
    now: DateTime<Utc>,
) -> Result<(), DbErr> {
    Entity::update_many()
        .col_expr(Column::Generation, Expr::value(session.generation + 1))
        .col_expr(Column::RefreshRequest, Expr::value(request))
        .col_expr(Column::RefreshTime, Expr::value(now))
        .filter(Column::SessionId.eq(session.session_id))
        .exec(conn)
        .await?;
    Ok(())
}

pub(crate) async fn update_ended(
    conn: &impl ConnectionTrait,
    id: SessionId,
    now: DateTime<Utc>,
) -> Result<(), DbErr> {
    Entity::update_many()
        .col_expr(Column::EndTime, Expr::value(now))
        .filter(Column::SessionId.eq(id.uuid()))
        .exec(conn)
        .await?;
    Ok(())
}

/// The living sessions of an account, latest first.
pub(crate) async fn list(
    conn: &impl ConnectionTrait,
    account: AccountId,
    now: DateTime<Utc>,
    after: Option<SessionId>,
    limit: u64,
) -> Result<Vec<Session>, DbErr> {
    Entity::find()
        .filter(Column::AccountId.eq(account.uuid()))
        .filter(living(now))
        .filter(Condition::all().add_option(after.map(|id| Column::SessionId.lt(id.uuid()))))
        .order_by_desc(Column::SessionId)
        .limit(limit)
        .all(conn)
        .await
}
