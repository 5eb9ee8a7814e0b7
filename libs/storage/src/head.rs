//! The head of the service's event log: how many events were ever committed, and in which life of the database.
use sea_orm::{ConnectionTrait, Statement};
use uuid::Uuid;

use crate::{StorageError, Tx};

/// A place in the event log of one incarnation of a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LogHead {
    /// Changes when the database was restored or lost data; time-ordered, so that a later one is greater.
    pub incarnation: Uuid,
    /// How many events were committed; the position of the last one.
    pub position: i64,
}

fn decode(row: Option<sea_orm::QueryResult>) -> Result<LogHead, StorageError> {
    let row = row.ok_or_else(|| StorageError::Schema("the database has no head row: migrate it".into()))?;
    Ok(LogHead {
        incarnation: row.try_get("", "incarnation")?,
        position: row.try_get("", "position")?,
    })
}

/// The head as committed, without a lock.
pub(crate) async fn read(conn: &impl ConnectionTrait) -> Result<LogHead, StorageError> {
    let sql = "SELECT incarnation, position FROM event_head WHERE head_id = 1";
    decode(
        conn.query_one_raw(Statement::from_string(conn.get_database_backend(), sql))
            .await?,
    )
}

/// Takes `count` positions and holds the head's row until the commit: positions are dense, because a rollback
/// returns them, and in the order of the commits, because nobody else gets one before.
pub(crate) async fn advance(tx: &Tx, count: i64) -> Result<LogHead, StorageError> {
    let sql =
        "UPDATE event_head SET position = position + $1 WHERE head_id = 1 RETURNING incarnation, position";
    let statement = Statement::from_sql_and_values(tx.get_database_backend(), sql, [count.into()]);
    decode(tx.query_one_raw(statement).await?)
}

/// Writes the head row of a new database.
pub(crate) async fn ensure(tx: &Tx, incarnation: Uuid) -> Result<(), StorageError> {
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

/// Starts a new incarnation: every cursor and token handed out before is void.
pub(crate) async fn renew(tx: &Tx, incarnation: Uuid) -> Result<(), StorageError> {
    let sql = "UPDATE event_head SET incarnation = $1 WHERE head_id = 1";
    tx.execute_raw(Statement::from_sql_and_values(
        tx.get_database_backend(),
        sql,
        [incarnation.into()],
    ))
    .await?;
    Ok(())
}
