//! The tables `sign_in_flow` and `address_counter` and named queries over them. They belong to no
//! organization, so the queries have no scope.
use chrono::{DateTime, Utc};
use parta_database::{StorageError, table};
use parta_ids::{FlowId, SessionId, TypedId as _};
use sea_orm::{
    ActiveValue::Set,
    ColumnTrait as _, Condition, ConnectionTrait, EntityTrait as _, QueryFilter as _, QuerySelect as _,
    sea_query::{Expr, ExprTrait as _, OnConflict},
};

use super::{
    model::{ATTEMPTS_MAX, Counter, PROOF_LIFE},
    proof::ProofDigest,
};

table!(address_counter, "address_counter", {
    #[sea_orm(primary_key, auto_increment = false)]
    address: String,
    send_time: Option<DateTimeUtc>,
    hour_time: DateTimeUtc,
    hour_sends: i32,
    day_time: DateTimeUtc,
    day_sends: i32,
    failures: i32,
    block_time: Option<DateTimeUtc>,
});
table!(flow, "sign_in_flow", {
    #[sea_orm(primary_key, auto_increment = false)]
    flow_id: Uuid,
    address: String,
    tries: i32,
    create_time: DateTimeUtc,
    expire_time: DateTimeUtc,
    verify_time: Option<DateTimeUtc>,
    proof_digest: Option<Vec<u8>>,
    session_id: Option<Uuid>,
});

/// Reads the counter of an address and locks it until the transaction ends. Inserts it if there is none.
pub(super) async fn lock_counter(
    conn: &impl ConnectionTrait,
    address: &str,
) -> Result<Counter, StorageError> {
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
    // Purged between the two statements, because its retention has passed.
    let row = row.ok_or_else(|| StorageError::Conflict("the counter was just purged".into()))?;
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

/// Saves the counter of an address.
pub(super) async fn update_counter(
    conn: &impl ConnectionTrait,
    address: &str,
    counter: &Counter,
) -> Result<(), StorageError> {
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

pub(super) async fn insert(
    conn: &impl ConnectionTrait,
    id: FlowId,
    address: &str,
    now: DateTime<Utc>,
    expire_time: DateTime<Utc>,
) -> Result<(), StorageError> {
    let row = flow::ActiveModel {
        flow_id: Set(id.uuid()),
        address: Set(address.to_owned()),
        tries: Set(0),
        create_time: Set(now),
        expire_time: Set(expire_time),
        verify_time: Set(None),
        proof_digest: Set(None),
        session_id: Set(None),
    };
    flow::Entity::insert(row).exec_without_returning(conn).await?;
    Ok(())
}

async fn address_of(conn: &impl ConnectionTrait, id: FlowId) -> Result<Option<String>, StorageError> {
    let row = flow::Entity::find_by_id(id.uuid()).one(conn).await?;
    Ok(row.map(|row| row.address))
}

/// The address of a flow whose code was not verified yet, and when the code expires.
pub(super) async fn find_unverified(
    conn: &impl ConnectionTrait,
    id: FlowId,
) -> Result<Option<(String, DateTime<Utc>)>, StorageError> {
    let row = flow::Entity::find_by_id(id.uuid())
        .filter(flow::Column::VerifyTime.is_null())
        .one(conn)
        .await?;
    Ok(row.map(|row| (row.address, row.expire_time)))
}

/// Uses up one attempt of a flow and returns its address; `None` if the flow is unknown, has expired, has
/// started a session or has no attempts left.
pub(super) async fn take_attempt(
    conn: &impl ConnectionTrait,
    id: FlowId,
    now: DateTime<Utc>,
) -> Result<Option<String>, StorageError> {
    let done = flow::Entity::update_many()
        .col_expr(flow::Column::Tries, Expr::col(flow::Column::Tries).add(1))
        .filter(flow::Column::FlowId.eq(id.uuid()))
        .filter(flow::Column::Tries.lt(ATTEMPTS_MAX))
        .filter(flow::Column::ExpireTime.gt(now))
        .filter(flow::Column::SessionId.is_null())
        .exec(conn)
        .await?;
    if done.rows_affected == 0 {
        return Ok(None);
    }
    address_of(conn, id).await
}

/// Notes that the code of a flow was verified, and the digest of the proof that the caller got for it.
/// The proof of an earlier verification is no longer accepted.
pub(super) async fn update_verified(
    conn: &impl ConnectionTrait,
    id: FlowId,
    proof: &ProofDigest,
    now: DateTime<Utc>,
) -> Result<(), StorageError> {
    flow::Entity::update_many()
        .col_expr(flow::Column::ProofDigest, Expr::value(proof.0.to_vec()))
        .col_expr(flow::Column::VerifyTime, Expr::value(now))
        .filter(flow::Column::FlowId.eq(id.uuid()))
        .exec(conn)
        .await?;
    Ok(())
}

fn proved(id: FlowId, proof: &ProofDigest, now: DateTime<Utc>) -> Condition {
    Condition::all()
        .add(flow::Column::FlowId.eq(id.uuid()))
        .add(flow::Column::ProofDigest.eq(proof.0.to_vec()))
        .add(flow::Column::VerifyTime.gt(now - PROOF_LIFE))
        .add(flow::Column::SessionId.is_null())
}

/// The address of a flow whose code was verified recently by the holder of the proof and that has started no
/// session.
pub(crate) async fn find_proved(
    conn: &impl ConnectionTrait,
    id: FlowId,
    proof: &ProofDigest,
    now: DateTime<Utc>,
) -> Result<Option<String>, StorageError> {
    let row = flow::Entity::find()
        .filter(proved(id, proof, now))
        .one(conn)
        .await?;
    Ok(row.map(|row| row.address))
}

/// Uses a proved flow for a session and returns its address; `None` if another session was faster.
pub(crate) async fn use_proved(
    conn: &impl ConnectionTrait,
    id: FlowId,
    proof: &ProofDigest,
    session: SessionId,
    now: DateTime<Utc>,
) -> Result<Option<String>, StorageError> {
    let done = flow::Entity::update_many()
        .col_expr(flow::Column::SessionId, Expr::value(session.uuid()))
        .filter(proved(id, proof, now))
        .exec(conn)
        .await?;
    if done.rows_affected == 0 {
        return Ok(None);
    }
    address_of(conn, id).await
}

/// Deletes flows that expired before a time.
pub(super) async fn delete_flows(
    conn: &impl ConnectionTrait,
    expired_before: DateTime<Utc>,
) -> Result<(), StorageError> {
    flow::Entity::delete_many()
        .filter(flow::Column::ExpireTime.lt(expired_before))
        .exec(conn)
        .await?;
    Ok(())
}

/// Deletes counters that limit nothing: the address is not refused now, and no code was sent to it since
/// `sent_before`, or since `failed_before` if codes were wrong.
pub(super) async fn delete_counters(
    conn: &impl ConnectionTrait,
    now: DateTime<Utc>,
    sent_before: DateTime<Utc>,
    failed_before: DateTime<Utc>,
) -> Result<(), StorageError> {
    use address_counter::Column;
    let free = Condition::any()
        .add(Column::BlockTime.is_null())
        .add(Column::BlockTime.lte(now));
    let forgotten = Condition::any()
        .add(Column::Failures.eq(0))
        .add(Column::SendTime.lt(failed_before));
    address_counter::Entity::delete_many()
        .filter(Column::SendTime.lt(sent_before))
        .filter(free)
        .filter(forgotten)
        .exec(conn)
        .await?;
    Ok(())
}
