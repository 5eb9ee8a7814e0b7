//! Named queries over accounts, their addresses and sign-in flows. They belong to no organization.
use chrono::{DateTime, TimeDelta, Utc};
use parta_ids::{AccountId, FlowId, TypedId as _, Uuid};
use sea_orm::{
    ActiveValue::Set,
    ColumnTrait as _, Condition, ConnectionTrait, DbErr, EntityTrait as _, QueryFilter as _, QueryOrder as _,
    QuerySelect as _,
    sea_query::{Expr, ExprTrait as _, OnConflict},
};

use crate::entities::{account, account_address, address_counter, flow, join_flow};
use crate::sign_in::model::{Counter, PROOF_LIFE, TRIES};

/// Reads an address's counter and keeps others from it until the transaction ends.
pub(crate) async fn counter(conn: &impl ConnectionTrait, address: &str) -> Result<Counter, DbErr> {
    let first = address_counter::ActiveModel {
        address: Set(address.to_owned()),
        send_time: Set(None),
        hour_time: Set(DateTime::UNIX_EPOCH),
        hour_sends: Set(0),
        day_time: Set(DateTime::UNIX_EPOCH),
        day_sends: Set(0),
        failures: Set(0),
        block_time: Set(None),
    };
    let known = OnConflict::column(address_counter::Column::Address)
        .do_nothing()
        .to_owned();
    address_counter::Entity::insert(first)
        .on_conflict(known)
        .exec_without_returning(conn)
        .await?;
    let row = address_counter::Entity::find_by_id(address.to_owned())
        .lock_exclusive()
        .one(conn)
        .await?;
    let row = row.ok_or_else(|| DbErr::RecordNotFound("address_counter".to_owned()))?;
    Ok(Counter {
        send_time: row.send_time,
        hour: row.hour_time,
        hour_sends: row.hour_sends,
        day: row.day_time,
        day_sends: row.day_sends,
        failures: row.failures,
        block_time: row.block_time,
    })
}

pub(crate) async fn update_counter(
    conn: &impl ConnectionTrait,
    address: &str,
    counter: &Counter,
) -> Result<(), DbErr> {
    let row = address_counter::ActiveModel {
        address: Set(address.to_owned()),
        send_time: Set(counter.send_time),
        hour_time: Set(counter.hour),
        hour_sends: Set(counter.hour_sends),
        day_time: Set(counter.day),
        day_sends: Set(counter.day_sends),
        failures: Set(counter.failures),
        block_time: Set(counter.block_time),
    };
    address_counter::Entity::update(row).exec(conn).await?;
    Ok(())
}

pub(crate) async fn insert_flow(
    conn: &impl ConnectionTrait,
    id: FlowId,
    address: &str,
    now: DateTime<Utc>,
    expire_time: DateTime<Utc>,
) -> Result<(), DbErr> {
    let row = flow::ActiveModel {
        flow_id: Set(id.uuid()),
        address: Set(address.to_owned()),
        tries: Set(0),
        create_time: Set(now),
        expire_time: Set(expire_time),
        verify_time: Set(None),
        session_id: Set(None),
    };
    flow::Entity::insert(row).exec_without_returning(conn).await?;
    Ok(())
}

/// Uses up one try of a living flow and answers its address; `None` where there is none left.
pub(crate) async fn take_try(
    conn: &impl ConnectionTrait,
    id: FlowId,
    now: DateTime<Utc>,
) -> Result<Option<String>, DbErr> {
    let done = flow::Entity::update_many()
        .col_expr(flow::Column::Tries, Expr::col(flow::Column::Tries).add(1))
        .filter(flow::Column::FlowId.eq(id.uuid()))
        .filter(flow::Column::Tries.lt(TRIES))
        .filter(flow::Column::ExpireTime.gt(now))
        .filter(flow::Column::SessionId.is_null())
        .exec(conn)
        .await?;
    if done.rows_affected == 0 {
        return Ok(None);
    }
    Ok(flow::Entity::find_by_id(id.uuid())
        .one(conn)
        .await?
        .map(|row| row.address))
}

pub(crate) async fn update_verified(
    conn: &impl ConnectionTrait,
    id: FlowId,
    now: DateTime<Utc>,
) -> Result<(), DbErr> {
    flow::Entity::update_many()
        .col_expr(flow::Column::VerifyTime, Expr::value(now))
        .filter(flow::Column::FlowId.eq(id.uuid()))
        .exec(conn)
        .await?;
    Ok(())
}

/// Uses a verified flow for a session and answers its address; a flow serves once.
pub(crate) async fn use_flow(
    conn: &impl ConnectionTrait,
    id: FlowId,
    session: Uuid,
    now: DateTime<Utc>,
) -> Result<Option<String>, DbErr> {
    let done = flow::Entity::update_many()
        .col_expr(flow::Column::SessionId, Expr::value(session))
        .filter(flow::Column::FlowId.eq(id.uuid()))
        .filter(flow::Column::VerifyTime.gt(now - PROOF_LIFE))
        .filter(flow::Column::SessionId.is_null())
        .exec(conn)
        .await?;
    if done.rows_affected == 0 {
        return Ok(None);
    }
    Ok(flow::Entity::find_by_id(id.uuid())
        .one(conn)
        .await?
        .map(|row| row.address))
}

/// Flows serve for minutes; what is older than a day is of no use.
pub(crate) async fn delete_old_flows(conn: &impl ConnectionTrait, now: DateTime<Utc>) -> Result<(), DbErr> {
    let old = now - TimeDelta::days(1);
    flow::Entity::delete_many()
        .filter(flow::Column::ExpireTime.lt(old))
        .exec(conn)
        .await?;
    Ok(())
}

/// The people who sign in by an address, oldest first.
pub(crate) async fn list_by_address(
    conn: &impl ConnectionTrait,
    address: &str,
) -> Result<Vec<account::Model>, DbErr> {
    let ids: Vec<Uuid> = account_address::Entity::find()
        .select_only()
        .column(account_address::Column::AccountId)
        .filter(account_address::Column::Address.eq(address))
        .into_tuple()
        .all(conn)
        .await?;
    let found = account::Entity::find().filter(account::Column::AccountId.is_in(ids));
    found.order_by_asc(account::Column::AccountId).all(conn).await
}

pub(crate) async fn insert(
    conn: &impl ConnectionTrait,
    id: AccountId,
    full_name: &str,
    address: &str,
    now: DateTime<Utc>,
) -> Result<(), DbErr> {
    let row = account::ActiveModel {
        account_id: Set(id.uuid()),
        full_name: Set(full_name.to_owned()),
        create_time: Set(now),
    };
    account::Entity::insert(row).exec_without_returning(conn).await?;
    let row = account_address::ActiveModel {
        address: Set(address.to_owned()),
        account_id: Set(id.uuid()),
        verify_time: Set(now),
    };
    account_address::Entity::insert(row)
        .exec_without_returning(conn)
        .await?;
    Ok(())
}

pub(crate) async fn find(
    conn: &impl ConnectionTrait,
    id: AccountId,
) -> Result<Option<account::Model>, DbErr> {
    account::Entity::find_by_id(id.uuid()).one(conn).await
}

/// The proved addresses of an account.
pub(crate) async fn addresses(conn: &impl ConnectionTrait, id: AccountId) -> Result<Vec<String>, DbErr> {
    let rows = account_address::Entity::find()
        .filter(account_address::Column::AccountId.eq(id.uuid()))
        .all(conn)
        .await?;
    Ok(rows.into_iter().map(|row| row.address).collect())
}

/// Remembers who stands behind a join flow.
pub(crate) async fn put_join_flow(
    conn: &impl ConnectionTrait,
    id: FlowId,
    account: AccountId,
    now: DateTime<Utc>,
) -> Result<(), DbErr> {
    let row = join_flow::ActiveModel {
        flow_id: Set(id.uuid()),
        account_id: Set(account.uuid()),
        create_time: Set(now),
    };
    let known = OnConflict::column(join_flow::Column::FlowId)
        .do_nothing()
        .to_owned();
    join_flow::Entity::insert(row)
        .on_conflict(known)
        .exec_without_returning(conn)
        .await?;
    Ok(())
}

pub(crate) async fn find_join_flow(
    conn: &impl ConnectionTrait,
    id: FlowId,
) -> Result<Option<AccountId>, DbErr> {
    let row = join_flow::Entity::find()
        .filter(Condition::all().add(join_flow::Column::FlowId.eq(id.uuid())))
        .one(conn)
        .await?;
    Ok(row.map(|row| AccountId::from_uuid(row.account_id)))
}
