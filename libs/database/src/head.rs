//! The heads of the event logs. A service has one log for each organization; the log of an organization ends
//! at its head.
use parta_ids::{OrgId, TypedId};
use sea_orm::{
    ActiveValue::Set, ColumnTrait as _, ConnectionTrait, EntityTrait as _, QueryFilter as _, Statement,
    sea_query::Expr,
};
use uuid::Uuid;

use crate::{StorageError, insert_if_absent};

crate::table!(epoch, "event_epoch", {
    #[sea_orm(primary_key, auto_increment = false)]
    epoch_id: i16,
    epoch: Uuid,
});

/// The key of the only row of `event_epoch`.
const EPOCH_ID: i16 = 1;

/// The end of the event log of one organization.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LogHead {
    /// The epoch of the logs. Only the operator begins a new one, which makes every cursor and token of other
    /// epochs void. Epochs have no order: they are named by clocks, and a restored or promoted database may
    /// be in an earlier epoch than its consumers know. Compare them by equality only, and positions within
    /// one.
    pub epoch: Uuid,
    /// The position of the last event, which is the number of committed events.
    pub position: i64,
    /// The id of the last event; nil if the log is empty.
    pub event_id: Uuid,
}

fn missing() -> StorageError {
    StorageError::Schema("the database has no epoch of its logs: migrate it".into())
}

/// Reads the committed head of the log of an organization without a lock.
pub(crate) async fn read(conn: &impl ConnectionTrait, org_id: OrgId) -> Result<LogHead, StorageError> {
    let sql = "SELECT e.epoch, h.position, h.event_id FROM event_epoch e \
               LEFT JOIN event_head h ON h.org_id = $1";
    let statement = Statement::from_sql_and_values(conn.get_database_backend(), sql, [org_id.uuid().into()]);
    let row = conn.query_one_raw(statement).await?.ok_or_else(missing)?;
    let position: Option<i64> = row.try_get("", "position")?;
    let event_id: Option<Uuid> = row.try_get("", "event_id")?;
    Ok(LogHead {
        epoch: row.try_get("", "epoch")?,
        position: position.unwrap_or_default(),
        event_id: event_id.unwrap_or_default(),
    })
}

/// Reads the epoch of the logs.
pub(crate) async fn epoch(conn: &impl ConnectionTrait) -> Result<Uuid, StorageError> {
    let row = epoch::Entity::find().one(conn).await?.ok_or_else(missing)?;
    Ok(row.epoch)
}

/// Begins the first epoch in a new database.
pub(crate) async fn ensure(tx: &impl ConnectionTrait, epoch: Uuid) -> Result<(), StorageError> {
    let row = epoch::ActiveModel {
        epoch_id: Set(EPOCH_ID),
        epoch: Set(epoch),
    };
    insert_if_absent::<epoch::Entity>(tx, row).await?;
    Ok(())
}

/// Begins a new epoch, which invalidates every cursor and token issued before.
pub(crate) async fn renew(tx: &impl ConnectionTrait, epoch: Uuid) -> Result<(), StorageError> {
    epoch::Entity::update_many()
        .col_expr(epoch::Column::Epoch, Expr::value(epoch))
        .filter(epoch::Column::EpochId.eq(EPOCH_ID))
        .exec(tx)
        .await?;
    Ok(())
}
