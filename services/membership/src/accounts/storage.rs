//! The tables `account` and `account_address` and named queries over them. Accounts belong to no
//! organization, so the queries have no scope.
use chrono::{DateTime, Utc};
use parta_database::{StorageError, insert_or_replace, table};
use parta_ids::{AccountId, TypedId as _, Uuid};
use sea_orm::{
    ActiveValue::Set, ColumnTrait as _, ConnectionTrait, EntityTrait as _, QueryFilter as _, QueryOrder as _,
    QuerySelect as _, sea_query::Expr,
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
    // When another address replaced it; empty while the account signs in by it.
    end_time: Option<DateTimeUtc>,
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
        .filter(account_address::Column::EndTime.is_null())
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
        end_time: Set(None),
    };
    account_address::Entity::insert(row)
        .exec_without_returning(conn)
        .await?;
    Ok(())
}

/// Locks the row of an account until the transaction ends, so that its address does not change meanwhile.
pub(crate) async fn lock(conn: &impl ConnectionTrait, id: AccountId) -> Result<(), StorageError> {
    account::Entity::find_by_id(id.uuid())
        .lock_exclusive()
        .one(conn)
        .await?;
    Ok(())
}

/// Makes a proved address the only one by which an account signs in. The row of the account must have been
/// locked.
pub(crate) async fn replace_address(
    conn: &impl ConnectionTrait,
    id: AccountId,
    address: &str,
    now: DateTime<Utc>,
) -> Result<(), StorageError> {
    account_address::Entity::update_many()
        .col_expr(account_address::Column::EndTime, Expr::value(now))
        .filter(account_address::Column::AccountId.eq(id.uuid()))
        .filter(account_address::Column::EndTime.is_null())
        .exec(conn)
        .await?;
    let row = account_address::ActiveModel {
        address: Set(address.to_owned()),
        account_id: Set(id.uuid()),
        verify_time: Set(now),
        end_time: Set(None),
    };
    // The person may return to an earlier address.
    insert_or_replace::<account_address::Entity>(conn, row).await
}

pub(crate) async fn find(
    conn: &impl ConnectionTrait,
    id: AccountId,
) -> Result<Option<Account>, StorageError> {
    let row = account::Entity::find_by_id(id.uuid()).one(conn).await?;
    Ok(row.map(Account::from))
}

/// Lists the addresses by which an account signs in.
pub(crate) async fn addresses(
    conn: &impl ConnectionTrait,
    id: AccountId,
) -> Result<Vec<String>, StorageError> {
    let rows = account_address::Entity::find()
        .filter(account_address::Column::AccountId.eq(id.uuid()))
        .filter(account_address::Column::EndTime.is_null())
        .all(conn)
        .await?;
    Ok(rows.into_iter().map(|row| row.address).collect())
}

/// Lists the phone numbers by which an account signs in.
pub(crate) async fn phones(conn: &impl ConnectionTrait, id: AccountId) -> Result<Vec<String>, StorageError> {
    let addresses = addresses(conn, id).await?.into_iter();
    Ok(addresses.filter(|address| is_phone(address)).collect())
}

/// Lists the accounts that have proved an address of this account, the account itself included. Earlier
/// addresses count, so that a person cannot hide the link between two accounts by a change of the address.
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

/// Whether an address of the account was replaced at or after a time.
pub(crate) async fn has_replaced_address_since(
    conn: &impl ConnectionTrait,
    id: AccountId,
    since: DateTime<Utc>,
) -> Result<bool, StorageError> {
    let replaced = account_address::Entity::find()
        .filter(account_address::Column::AccountId.eq(id.uuid()))
        .filter(account_address::Column::EndTime.gte(since))
        .one(conn)
        .await?;
    Ok(replaced.is_some())
}

/// Whether an account signs in by an address.
pub(crate) async fn has_address(
    conn: &impl ConnectionTrait,
    id: AccountId,
    address: &str,
) -> Result<bool, StorageError> {
    let key = (address.to_owned(), id.uuid());
    Ok(account_address::Entity::find_by_id(key)
        .filter(account_address::Column::EndTime.is_null())
        .one(conn)
        .await?
        .is_some())
}
