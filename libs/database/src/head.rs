//! The head of the event log of the service: the number of committed events and the incarnation of the
//! database.
use sea_orm::{ConnectionTrait, Statement};
use uuid::Uuid;

use crate::StorageError;

/// A position in the event log of one incarnation of a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LogHead {
    /// Changes when the database is restored or loses data. Time-ordered, so that a later incarnation is
    /// greater.
    pub incarnation: Uuid,
    /// The number of committed events, which is the position of the last one.
    pub position: i64,
}

fn decode(row: Option<sea_orm::QueryResult>) -> Result<LogHead, StorageError> {
    let row = row.ok_or_else(|| StorageError::Schema("the database has no head row: migrate it".into()))?;
    Ok(LogHead {
        incarnation: row.try_get("", "incarnation")?,
        position: row.try_get("", "position")?,
    })
}

/// Reads the committed head without a lock.
pub(crate) async fn read(conn: &impl ConnectionTrait) -> Result<LogHead, StorageError> {
    let sql = "SELECT incarnation, position FROM event_head WHERE head_id = 1";
    decode(
        conn.query_one_raw(Statement::from_string(conn.get_database_backend(), sql))
            .await?,
    )
}

/// Takes `count` positions and locks the row of the head until the commit. Positions are dense, because a
/// rollback returns them, and in commit order, because no other transaction can take one before.
pub(crate) async fn advance(tx: &impl ConnectionTrait, count: i64) -> Result<LogHead, StorageError> {
    let sql =
        "UPDATE event_head SET position = position + $1 WHERE head_id = 1 RETURNING incarnation, position";
    let statement = Statement::from_sql_and_values(tx.get_database_backend(), sql, [count.into()]);
    decode(tx.query_one_raw(statement).await?)
}

/// Inserts the head row of a new database.
pub(crate) async fn ensure(tx: &impl ConnectionTrait, incarnation: Uuid) -> Result<(), StorageError> {
    let sql =
        "INSERT INTO event_head (head_id, incarnation, position) VALUES (1, $1, 0) ON CONFLICT DO NOTHING";
    tx.execute_raw(Statement::from_sql_and_values(
        tx.get_database_backend(),
        sql,
        [incarnation.into()],
    ))
    .await?;
    Ok(())
}

/// Starts a new incarnation, which invalidates every cursor and token issued before.
pub(crate) async fn renew(tx: &impl ConnectionTrait, incarnation: Uuid) -> Result<(), StorageError> {
    let sql = "UPDATE event_head SET incarnation = $1 WHERE head_id = 1";
    tx.execute_raw(Statement::from_sql_and_values(
        tx.get_database_backend(),
        sql,
        [incarnation.into()],
    ))
    .await?;
    Ok(())
}
