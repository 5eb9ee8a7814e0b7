//! The tables `sign_in_flow` and `sign_in_failure` and named queries over them. They belong to no
//! organization, so the queries have no scope.
pub(super) mod failures;

use chrono::{DateTime, Utc};
use parta_database::{StorageError, table};
use parta_ids::{FlowId, SessionId, TypedId as _};
use sea_orm::{
    ActiveValue::Set,
    ColumnTrait as _, Condition, ConnectionTrait, EntityTrait as _, QueryFilter as _,
    sea_query::{Expr, ExprTrait as _},
};

use super::{
    model::{ATTEMPTS_MAX, PROOF_LIFE},
    proof::ProofDigest,
};
use crate::{delivery::Purpose, storage::delete_before};

table!(flow, "sign_in_flow", {
    #[sea_orm(primary_key, auto_increment = false)]
    flow_id: Uuid,
    address: String,
    purpose: i32,
    tries: i32,
    create_time: DateTimeUtc,
    expire_time: DateTimeUtc,
    verify_time: Option<DateTimeUtc>,
    proof_digest: Option<Vec<u8>>,
    session_id: Option<Uuid>,
});

pub(super) async fn insert(
    conn: &impl ConnectionTrait,
    id: FlowId,
    purpose: Purpose,
    address: &str,
    now: DateTime<Utc>,
    expire_time: DateTime<Utc>,
) -> Result<(), StorageError> {
    let row = flow::ActiveModel {
        flow_id: Set(id.uuid()),
        address: Set(address.to_owned()),
        purpose: Set(purpose.number()),
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

/// A code that was not verified yet.
pub(super) struct Unverified {
    pub(super) address: String,
    pub(super) purpose: Purpose,
    pub(super) expire_time: DateTime<Utc>,
}

/// Finds the flow whose code was not verified yet.
pub(super) async fn find_unverified(
    conn: &impl ConnectionTrait,
    id: FlowId,
) -> Result<Option<Unverified>, StorageError> {
    let row = flow::Entity::find_by_id(id.uuid())
        .filter(flow::Column::VerifyTime.is_null())
        .one(conn)
        .await?;
    let unverified = |row: flow::Model| {
        let purpose = Purpose::from_number(row.purpose);
        Ok(Unverified {
            address: row.address,
            purpose: purpose
                .ok_or_else(|| StorageError::unknown_value("sign_in_flow.purpose", row.purpose))?,
            expire_time: row.expire_time,
        })
    };
    row.map(unverified).transpose()
}

/// Uses up one attempt of a flow and returns its address; `None` if the flow is unknown, has another purpose,
/// has expired, has started a session or has no attempts left.
pub(super) async fn take_attempt(
    conn: &impl ConnectionTrait,
    id: FlowId,
    purpose: Purpose,
    now: DateTime<Utc>,
) -> Result<Option<String>, StorageError> {
    let done = flow::Entity::update_many()
        .col_expr(flow::Column::Tries, Expr::col(flow::Column::Tries).add(1))
        .filter(flow::Column::FlowId.eq(id.uuid()))
        .filter(flow::Column::Purpose.eq(purpose.number()))
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
    delete_before::<flow::Entity>(conn, flow::Column::ExpireTime, expired_before).await
}
