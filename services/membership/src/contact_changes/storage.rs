//! The table `contact_change` and named queries over it. It belongs to no organization, so the
//! queries take no `OrgScope`. The addresses are in `sign_in_flow`, in the rows of the two flows of
//! a change.
use chrono::{DateTime, Utc};
use parta_database::{StorageError, insert_or_replace, table};
use parta_ids::{AccountId, FlowId, TypedId as _};
use sea_orm::{
    ActiveValue::Set, ColumnTrait as _, ConnectionTrait, EntityTrait as _, QueryFilter as _, sea_query::Expr,
};

use crate::storage::delete_before;
use entity::{ActiveModel, Column, Entity};

table!(entity, "contact_change", {
    #[sea_orm(primary_key, auto_increment = false)]
    account_id: Uuid,
    flow_id: Uuid,
    present_flow_id: Uuid,
    create_time: DateTimeUtc,
    confirm_time: Option<DateTimeUtc>,
});

/// The latest change of the address with which an account signs in.
#[derive(Debug)]
pub(super) struct ContactChange {
    /// The flow of the code that was sent to the new address.
    pub(super) flow_id: FlowId,
    /// The flow of the code that was sent to the present address.
    pub(super) present_flow_id: FlowId,
    /// Whether the address was replaced.
    pub(super) is_confirmed: bool,
}

/// Inserts the change of an account, or overwrites the earlier one: an account has one row. The
/// caller must have locked the row of the account.
pub(super) async fn upsert(
    conn: &impl ConnectionTrait,
    account: AccountId,
    flow: FlowId,
    present_flow: FlowId,
    now: DateTime<Utc>,
) -> Result<(), StorageError> {
    let row = ActiveModel {
        account_id: Set(account.uuid()),
        flow_id: Set(flow.uuid()),
        present_flow_id: Set(present_flow.uuid()),
        create_time: Set(now),
        confirm_time: Set(None),
    };
    insert_or_replace::<Entity>(conn, row).await
}

/// Finds the latest change of an account.
pub(super) async fn find(
    conn: &impl ConnectionTrait,
    account: AccountId,
) -> Result<Option<ContactChange>, StorageError> {
    let row = Entity::find_by_id(account.uuid()).one(conn).await?;
    Ok(row.map(|row| ContactChange {
        flow_id: FlowId::from_uuid(row.flow_id),
        present_flow_id: FlowId::from_uuid(row.present_flow_id),
        is_confirmed: row.confirm_time.is_some(),
    }))
}

/// Marks the change of an account as confirmed. The caller must have locked the row of the account.
pub(super) async fn update_confirmed(
    conn: &impl ConnectionTrait,
    account: AccountId,
    now: DateTime<Utc>,
) -> Result<(), StorageError> {
    Entity::update_many()
        .col_expr(Column::ConfirmTime, Expr::value(now))
        .filter(Column::AccountId.eq(account.uuid()))
        .exec(conn)
        .await?;
    Ok(())
}

/// Deletes the changes that were requested before a time.
pub(super) async fn delete_old(
    conn: &impl ConnectionTrait,
    created_before: DateTime<Utc>,
) -> Result<(), StorageError> {
    delete_before::<Entity>(conn, Column::CreateTime, created_before).await
}
