//! The endings that the job has not published in time. While an organization has one, the heartbeat of the
//! feed names it, and the other services refuse its calls instead of deciding by a right that has ended.
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use parta_database::{Db, StorageError};
use parta_ids::OrgId;
use parta_status::RpcError;
use sea_orm::ConnectionTrait;

use super::storage;
use crate::NAME;

/// The time within which the job publishes an ending. A later one is overdue.
const PUNCTUAL: TimeDelta = TimeDelta::seconds(5);

/// Refuses a decision about an organization of which an ending is overdue by as much as other services
/// tolerate. This service reads its own projection, which is as late as the ending.
pub(crate) async fn require_punctual(
    conn: &impl ConnectionTrait,
    org: OrgId,
    now: DateTime<Utc>,
) -> Result<(), RpcError> {
    let tolerated = TimeDelta::from_std(parta_feed::MAX_AGE).unwrap_or_default();
    if storage::is_due_before(conn, org, now - tolerated).await? {
        return Err(parta_status::stale(NAME));
    }
    Ok(())
}

/// Returns the organizations that have an overdue ending, each with the time since the earliest was due.
pub(crate) async fn list_overdue(db: Db) -> Result<Vec<(OrgId, Duration)>, StorageError> {
    let now = db.env().now();
    let due = storage::list_due_before(db.conn(), now - PUNCTUAL).await?;
    Ok(due
        .into_iter()
        .map(|(org, due_time)| (org, (now - due_time).to_std().unwrap_or_default()))
        .collect())
}
