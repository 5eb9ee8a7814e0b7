//! Named queries over the development outbox.
use chrono::{DateTime, Utc};
use parta_ids::Uuid;
use sea_orm::{
    ActiveValue::Set, ColumnTrait as _, Condition, ConnectionTrait, DbErr, EntityTrait as _,
    QueryFilter as _, QueryOrder as _, QuerySelect as _,
};

pub(crate) use crate::entities::outbox::Model as Message;
use crate::entities::outbox::{ActiveModel, Column, Entity};

pub(crate) async fn insert(
    conn: &impl ConnectionTrait,
    id: Uuid,
    recipient: &str,
    text: &str,
    now: DateTime<Utc>,
) -> Result<(), DbErr> {
    let row = ActiveModel {
        message_id: Set(id),
        recipient: Set(recipient.to_owned()),
        text: Set(text.to_owned()),
        create_time: Set(now),
    };
    Entity::insert(row).exec_without_returning(conn).await?;
    Ok(())
}

pub(crate) async fn list(
    conn: &impl ConnectionTrait,
    recipient: &str,
    after: Option<Uuid>,
    limit: u64,
) -> Result<Vec<Message>, DbErr> {
    Entity::find()
        .filter(Condition::all().add_option((!recipient.is_empty()).then(|| Column::Recipient.eq(recipient))))
        .filter(Condition::all().add_option(after.map(|id| Column::MessageId.lt(id))))
        .order_by_desc(Column::MessageId)
        .limit(limit)
        .all(conn)
        .await
}
