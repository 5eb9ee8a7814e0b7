//! The table `outbox_message` and named queries over it. It belongs to the installation, so the queries have
//! no scope.
use chrono::{DateTime, Utc};
use parta_database::{StorageError, table};
use parta_ids::Uuid;
use sea_orm::{
    ActiveValue::Set, ColumnTrait as _, Condition, ConnectionTrait, EntityTrait as _, QueryFilter as _,
    QueryOrder as _, QuerySelect as _,
};

use super::model::OutboxMessage;
use crate::storage::delete_before;
use entity::{ActiveModel, Column, Entity, Model};

table!(entity, "outbox_message", {
    #[sea_orm(primary_key, auto_increment = false)]
    message_id: Uuid,
    recipient: String,
    text: String,
    create_time: DateTimeUtc,
});

pub(super) async fn insert(conn: &impl ConnectionTrait, message: &OutboxMessage) -> Result<(), StorageError> {
    let row = ActiveModel {
        message_id: Set(message.id),
        recipient: Set(message.recipient.clone()),
        text: Set(message.text.clone()),
        create_time: Set(message.create_time),
    };
    Entity::insert(row).exec_without_returning(conn).await?;
    Ok(())
}

/// Lists messages, latest first; to one recipient if named.
pub(super) async fn list(
    conn: &impl ConnectionTrait,
    recipient: Option<&str>,
    after: Option<Uuid>,
    limit: u64,
) -> Result<Vec<OutboxMessage>, StorageError> {
    let rows = Entity::find()
        .filter(Condition::all().add_option(recipient.map(|address| Column::Recipient.eq(address))))
        .filter(Condition::all().add_option(after.map(|id| Column::MessageId.lt(id))))
        .order_by_desc(Column::MessageId)
        .limit(limit)
        .all(conn)
        .await?;
    let message = |row: Model| OutboxMessage {
        id: row.message_id,
        recipient: row.recipient,
        text: row.text,
        create_time: row.create_time,
    };
    Ok(rows.into_iter().map(message).collect())
}

/// Deletes messages that were created before a time.
pub(super) async fn delete_old(
    conn: &impl ConnectionTrait,
    created_before: DateTime<Utc>,
) -> Result<(), StorageError> {
    delete_before::<Entity>(conn, Column::CreateTime, created_before).await
}
