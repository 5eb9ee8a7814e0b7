//! The table `join_flow` and named queries over it.
use chrono::{DateTime, Utc};
use parta_database::{StorageError, table};
use parta_ids::{AccountId, FlowId, TypedId as _};
use sea_orm::{ActiveValue::Set, ConnectionTrait, EntityTrait as _, sea_query::OnConflict};

use crate::storage::delete_before;

table!(join_flow, "join_flow", {
    #[sea_orm(primary_key, auto_increment = false)]
    flow_id: Uuid,
    account_id: Uuid,
    create_time: DateTimeUtc,
});

/// Inserts the join flow of an account, which belongs to no organization. If it exists, its retention begins
/// again.
pub(super) async fn insert_join_flow(
    conn: &impl ConnectionTrait,
    id: FlowId,
    account: AccountId,
    now: DateTime<Utc>,
) -> Result<(), StorageError> {
    let row = join_flow::ActiveModel {
        flow_id: Set(id.uuid()),
        account_id: Set(account.uuid()),
        create_time: Set(now),
    };
    let known = OnConflict::column(join_flow::Column::FlowId)
        .update_column(join_flow::Column::CreateTime)
        .to_owned();
    join_flow::Entity::insert(row)
        .on_conflict(known)
        .exec_without_returning(conn)
        .await?;
    Ok(())
}

/// Deletes join flows whose latest ticket was created before a time.
pub(super) async fn delete_join_flows(
    conn: &impl ConnectionTrait,
    created_before: DateTime<Utc>,
) -> Result<(), StorageError> {
    delete_before::<join_flow::Entity>(conn, join_flow::Column::CreateTime, created_before).await
}

/// Finds the account behind a join flow.
pub(super) async fn find_join_flow(
    conn: &impl ConnectionTrait,
    id: FlowId,
) -> Result<Option<AccountId>, StorageError> {
    let row = join_flow::Entity::find_by_id(id.uuid()).one(conn).await?;
    Ok(row.map(|row| AccountId::from_uuid(row.account_id)))
}
