//! The tables `account` and `account_address` and named queries over them. Accounts belong to no
//! organization, so the queries have no scope.
use chrono::{DateTime, Utc};
use parta_database::{StorageError, table};
use parta_ids::{AccountId, TypedId as _, Uuid};
use sea_orm::{
    ActiveValue::Set, ColumnTrait as _, ConnectionTrait, EntityTrait as _, QueryFilter as _, QueryOrder as _,
    QuerySelect as _,
};

use super::model::{Account, is_phone};

table!(account, "account", {
    #[sea_orm(primary_key, auto_increment = false)]
    account_id: Uuid,
    full_name: String,
    create_time: DateTimeUtc,
});
table!(account_address, "account_address", {
    #[sea_orm(primary_key, auto_increment = false)]
    address: String,
    #[sea_orm(primary_key, auto_increment = false)]
    account_id: Uuid,
    verify_time: DateTimeUtc,
});

impl From<account::Model> for Account {
    fn from(row: account::Model) -> Self {
        Self {
            id: AccountId::from_uuid(row.account_id),
            full_name: row.full_name,
        }
    }
}

/// Lists the people who sign in by an address, oldest first.
pub(crate) async fn list_by_address(
    conn: &impl ConnectionTrait,
    address: &str,
) -> Result<Vec<Account>, StorageError> {
    let ids: Vec<Uuid> = account_address::Entity::find()
        .select_only()
        .column(account_address::Column::AccountId)
        .filter(account_address::Column::Address.eq(address))
        .into_tuple()
        .all(conn)
        .await?;
    let rows = account::Entity::find()
        .filter(account::Column::AccountId.is_in(ids))
        .order_by_asc(account::Column::AccountId)
        .all(conn)
        .await?;
    Ok(rows.into_iter().map(Account::from).collect())
}

/// Inserts an account with its proved address.
pub(crate) async fn insert(
    conn: &impl ConnectionTrait,
    account: &Account,
    address: &str,
    now: DateTime<Utc>,
) -> Result<(), StorageError> {
    let row = account::ActiveModel {
        account_id: Set(account.id.uuid()),
        full_name: Set(account.full_name.clone()),
        create_time: Set(now),
    };
    account::Entity::insert(row).exec_without_returning(conn).await?;
    let row = account_address::ActiveModel {
        address: Set(address.to_owned()),
        account_id: Set(account.id.uuid()),
        verify_time: Set(now),
    };
    account_address::Entity::insert(row)
        .exec_without_returning(conn)
        .await?;
    Ok(())
}

pub(crate) async fn find(
    conn: &impl ConnectionTrait,
    id: AccountId,
) -> Result<Option<Account>, StorageError> {
    let row = account::Entity::find_by_id(id.uuid()).one(conn).await?;
    Ok(row.map(Account::from))
}

/// Lists the addresses that an account has proved.
pub(crate) async fn addresses(
    conn: &impl ConnectionTrait,
    id: AccountId,
) -> Result<Vec<String>, StorageError> {
    let rows = account_address::Entity::find()
        .filter(account_address::Column::AccountId.eq(id.uuid()))
        .all(conn)
        .await?;
    Ok(rows.into_iter().map(|row| row.address).collect())
}

/// Lists the phone numbers that an account has proved.
pub(crate) async fn phones(conn: &impl ConnectionTrait, id: AccountId) -> Result<Vec<String>, StorageError> {
    let addresses = addresses(conn, id).await?.into_iter();
    Ok(addresses.filter(|address| is_phone(address)).collect())
}

/// Lists the accounts that have proved an address of this account, the account itself included.
pub(crate) async fn list_sharing_address(
    conn: &impl ConnectionTrait,
    id: AccountId,
) -> Result<Vec<AccountId>, StorageError> {
    let own: Vec<String> = account_address::Entity::find()
        .select_only()
        .column(account_address::Column::Address)
        .filter(account_address::Column::AccountId.eq(id.uuid()))
        .into_tuple()
        .all(conn)
        .await?;
    let ids: Vec<Uuid> = account_address::Entity::find()
        .select_only()
        .column(account_address::Column::AccountId)
        .filter(account_address::Column::Address.is_in(own))
        .distinct()
        .into_tuple()
        .all(conn)
        .await?;
    Ok(ids.into_iter().map(AccountId::from_uuid).collect())
}

/// Whether an account has proved an address.
pub(crate) async fn has_address(
    conn: &impl ConnectionTrait,
    id: AccountId,
    address: &str,
) -> Result<bool, StorageError> {
    let key = (address.to_owned(), id.uuid());
    Ok(account_address::Entity::find_by_id(key)
        .one(conn)
        .await?
        .is_some())
}
