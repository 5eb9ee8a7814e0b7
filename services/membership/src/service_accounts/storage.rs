//! The tables `service_account`, `service_account_key` and `revoked_service_account_key`, and named queries
//! over them.
use chrono::{DateTime, Utc};
use parta_access::OrgScope;
use parta_database::{StorageError, table};
use parta_ids::{OrgId, ServiceAccountId, ServiceAccountKeyId, TypedId};
use sea_orm::{
    ColumnTrait as _, Condition, ConnectionTrait, EntityTrait as _, IntoActiveModel as _, QueryFilter as _,
    QueryOrder as _, QuerySelect as _, sea_query::Expr,
};

use super::model::{self, RECORD_USE_AFTER, ServiceAccount, ServiceAccountKey};
use entity::{Column, Entity, Model};

table!(entity, "service_account", {
    #[sea_orm(primary_key, auto_increment = false)]
    org_id: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    service_account_id: Uuid,
    display_name: String,
    permissions: String,
    create_time: DateTimeUtc,
    revoke_time: Option<DateTimeUtc>,
});

table!(key, "service_account_key", {
    #[sea_orm(primary_key, auto_increment = false)]
    org_id: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    key_id: Uuid,
    service_account_id: Uuid,
    key_digest: Vec<u8>,
    create_time: DateTimeUtc,
    last_use_time: Option<DateTimeUtc>,
    revoke_time: Option<DateTimeUtc>,
});

// A key that was revoked, while its tokens may live. `service_account_key` has the same fact for good; this
// table stays small, because every replica reads all of it twice a second. Its time is that of the clock of
// the database.
table!(revoked, "revoked_service_account_key", {
    #[sea_orm(primary_key, auto_increment = false)]
    org_id: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    key_id: Uuid,
    revoke_time: DateTimeUtc,
});

impl From<Model> for ServiceAccount {
    fn from(row: Model) -> Self {
        Self {
            org_id: OrgId::from_uuid(row.org_id),
            id: ServiceAccountId::from_uuid(row.service_account_id),
            display_name: row.display_name,
            permissions: model::stored_permissions(&row.permissions),
            create_time: row.create_time,
        }
    }
}

impl From<key::Model> for ServiceAccountKey {
    fn from(row: key::Model) -> Self {
        Self {
            id: ServiceAccountKeyId::from_uuid(row.key_id),
            account_id: ServiceAccountId::from_uuid(row.service_account_id),
            create_time: row.create_time,
            last_use_time: row.last_use_time,
        }
    }
}

/// Inserts an account without a key. Its organization is the scope's.
pub(super) async fn insert(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    account: &ServiceAccount,
) -> Result<(), StorageError> {
    let permissions: Vec<_> = account.permissions.iter().map(|of| of.name()).collect();
    let row = Model {
        org_id: scope.org_id().uuid(),
        service_account_id: account.id.uuid(),
        display_name: account.display_name.clone(),
        permissions: permissions.join(" "),
        create_time: account.create_time,
        revoke_time: None,
    };
    Entity::insert(row.into_active_model())
        .exec_without_returning(conn)
        .await?;
    Ok(())
}

/// Inserts a key with its digest. The row of its account must have been locked or inserted.
pub(super) async fn insert_key(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    of: &ServiceAccountKey,
    key_digest: Vec<u8>,
) -> Result<(), StorageError> {
    let row = key::Model {
        org_id: scope.org_id().uuid(),
        key_id: of.id.uuid(),
        service_account_id: of.account_id.uuid(),
        key_digest,
        create_time: of.create_time,
        last_use_time: of.last_use_time,
        revoke_time: None,
    };
    key::Entity::insert(row.into_active_model())
        .exec_without_returning(conn)
        .await?;
    Ok(())
}

/// Loads an account that was not revoked.
pub(super) async fn find(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    id: ServiceAccountId,
) -> Result<Option<ServiceAccount>, StorageError> {
    let row = Entity::find_by_id((scope.org_id().uuid(), id.uuid()))
        .filter(Column::RevokeTime.is_null())
        .one(conn)
        .await?;
    Ok(row.map(ServiceAccount::from))
}

/// Locks an account that was not revoked until the transaction ends, so that its keys change one after the
/// other; returns `false` if there is none.
pub(super) async fn lock(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    id: ServiceAccountId,
) -> Result<bool, StorageError> {
    let row = Entity::find_by_id((scope.org_id().uuid(), id.uuid()))
        .filter(Column::RevokeTime.is_null())
        .lock_exclusive()
        .one(conn)
        .await?;
    Ok(row.is_some())
}

/// Marks an account as revoked. The row must have been locked.
pub(super) async fn update_revoked(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    id: ServiceAccountId,
    now: DateTime<Utc>,
) -> Result<(), StorageError> {
    Entity::update_many()
        .col_expr(Column::RevokeTime, Expr::value(now))
        .filter(Column::OrgId.eq(scope.org_id().uuid()))
        .filter(Column::ServiceAccountId.eq(id.uuid()))
        .exec(conn)
        .await?;
    Ok(())
}

/// Lists the keys of accounts that were not revoked, in the order of their creation.
pub(super) async fn list_keys(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    accounts: impl IntoIterator<Item = ServiceAccountId>,
) -> Result<Vec<ServiceAccountKey>, StorageError> {
    let rows = key::Entity::find()
        .filter(key::Column::OrgId.eq(scope.org_id().uuid()))
        .filter(key::Column::ServiceAccountId.is_in(accounts.into_iter().map(TypedId::uuid)))
        .filter(key::Column::RevokeTime.is_null())
        .order_by_asc(key::Column::CreateTime)
        .order_by_asc(key::Column::KeyId)
        .all(conn)
        .await?;
    Ok(rows.into_iter().map(ServiceAccountKey::from).collect())
}

/// Revokes a key and lists it for all services. The row of its account must have been locked.
pub(super) async fn revoke_key(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    id: ServiceAccountKeyId,
    now: DateTime<Utc>,
) -> Result<(), StorageError> {
    key::Entity::update_many()
        .col_expr(key::Column::RevokeTime, Expr::value(now))
        .filter(key::Column::OrgId.eq(scope.org_id().uuid()))
        .filter(key::Column::KeyId.eq(id.uuid()))
        .exec(conn)
        .await?;
    let row = revoked::Model {
        org_id: scope.org_id().uuid(),
        key_id: id.uuid(),
        revoke_time: now,
    };
    revoked::Entity::insert(row.into_active_model())
        .exec_without_returning(conn)
        .await?;
    Ok(())
}

/// Revokes the keys of all organizations and returns their number. They are not listed for all services: in a
/// restored database no token of before is accepted.
pub(super) async fn revoke_all_keys(
    conn: &impl ConnectionTrait,
    now: DateTime<Utc>,
) -> Result<u64, StorageError> {
    let revoked = key::Entity::update_many()
        .col_expr(key::Column::RevokeTime, Expr::value(now))
        .filter(key::Column::RevokeTime.is_null())
        .exec(conn)
        .await?;
    Ok(revoked.rows_affected)
}

/// Forgets the keys of all organizations that were revoked before `until`. They belong to no list of an
/// organization, so this has no scope.
pub(crate) async fn purge_revoked(
    conn: &impl ConnectionTrait,
    until: DateTime<Utc>,
) -> Result<u64, StorageError> {
    let purged = revoked::Entity::delete_many()
        .filter(revoked::Column::RevokeTime.lte(until))
        .exec(conn)
        .await?;
    Ok(purged.rows_affected)
}

/// Lists accounts that were not revoked, in the order of their ids.
pub(super) async fn list(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    after: Option<ServiceAccountId>,
    limit: u64,
) -> Result<Vec<ServiceAccount>, StorageError> {
    let rows = Entity::find()
        .filter(Column::OrgId.eq(scope.org_id().uuid()))
        .filter(Column::RevokeTime.is_null())
        .filter(Condition::all().add_option(after.map(|id| Column::ServiceAccountId.gt(id.uuid()))))
        .order_by_asc(Column::ServiceAccountId)
        .limit(limit)
        .all(conn)
        .await?;
    Ok(rows.into_iter().map(ServiceAccount::from).collect())
}

/// Finds a key that was not revoked, and its account. The presenter of a key does not name the organization,
/// so this has no scope.
pub(super) async fn find_presented(
    conn: &impl ConnectionTrait,
    digest: Vec<u8>,
) -> Result<Option<(ServiceAccount, ServiceAccountKey)>, StorageError> {
    let found = key::Entity::find()
        .filter(key::Column::KeyDigest.eq(digest))
        .filter(key::Column::RevokeTime.is_null())
        .one(conn)
        .await?;
    let Some(found) = found else { return Ok(None) };
    let account = Entity::find_by_id((found.org_id, found.service_account_id))
        .filter(Column::RevokeTime.is_null())
        .one(conn)
        .await?;
    Ok(account.map(|account| (account.into(), found.into())))
}

/// Records a use of a key, unless another call has recorded one within the last hour. Like [`find_presented`]
/// without a scope.
pub(super) async fn record_use(
    conn: &impl ConnectionTrait,
    org: OrgId,
    id: ServiceAccountKeyId,
    now: DateTime<Utc>,
) -> Result<(), StorageError> {
    let due = Condition::any()
        .add(key::Column::LastUseTime.is_null())
        .add(key::Column::LastUseTime.lte(now - RECORD_USE_AFTER));
    key::Entity::update_many()
        .col_expr(key::Column::LastUseTime, Expr::value(now))
        .filter(key::Column::OrgId.eq(org.uuid()))
        .filter(key::Column::KeyId.eq(id.uuid()))
        .filter(due)
        .exec(conn)
        .await?;
    Ok(())
}
