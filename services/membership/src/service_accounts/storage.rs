//! The tables `service_account` and `revoked_service_account`, and named queries over them.
use chrono::{DateTime, Utc};
use parta_access::OrgScope;
use parta_database::{StorageError, table};
use parta_ids::{OrgId, ServiceAccountId, TypedId as _, Uuid};
use sea_orm::{
    ColumnTrait as _, Condition, ConnectionTrait, EntityTrait as _, IntoActiveModel as _, QueryFilter as _,
    QueryOrder as _, QuerySelect as _, sea_query::Expr,
};

use super::model::ServiceAccount;
use entity::{Column, Entity, Model};

table!(entity, "service_account", {
    #[sea_orm(primary_key, auto_increment = false)]
    org_id: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    service_account_id: Uuid,
    display_name: String,
    permissions: String,
    key_digest: Vec<u8>,
    create_time: DateTimeUtc,
    revoke_time: Option<DateTimeUtc>,
});

// An account that was revoked, while its tokens may live. `service_account` has the same fact for good; this
// table stays small, because every replica reads all of it twice a second.
table!(revoked, "revoked_service_account", {
    #[sea_orm(primary_key, auto_increment = false)]
    org_id: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    service_account_id: Uuid,
    revoke_time: DateTimeUtc,
});

impl From<Model> for ServiceAccount {
    fn from(row: Model) -> Self {
        Self {
            org_id: OrgId::from_uuid(row.org_id),
            id: ServiceAccountId::from_uuid(row.service_account_id),
            display_name: row.display_name,
            permissions: row.permissions.split(' ').map(str::to_owned).collect(),
            create_time: row.create_time,
        }
    }
}

/// Inserts an account with the digest of its key. Its organization is the scope's.
pub(super) async fn insert(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    account: &ServiceAccount,
    key_digest: Vec<u8>,
) -> Result<(), StorageError> {
    let permissions: Vec<_> = account.permissions.iter().map(String::as_str).collect();
    let row = Model {
        org_id: scope.org_id().uuid(),
        service_account_id: account.id.uuid(),
        display_name: account.display_name.clone(),
        permissions: permissions.join(" "),
        key_digest,
        create_time: account.create_time,
        revoke_time: None,
    };
    Entity::insert(row.into_active_model())
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

/// Revokes an account and lists it for all services; returns `false` if there is none that was not revoked.
pub(super) async fn revoke(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    id: ServiceAccountId,
    now: DateTime<Utc>,
) -> Result<bool, StorageError> {
    let done = Entity::update_many()
        .col_expr(Column::RevokeTime, Expr::value(now))
        .filter(Column::OrgId.eq(scope.org_id().uuid()))
        .filter(Column::ServiceAccountId.eq(id.uuid()))
        .filter(Column::RevokeTime.is_null())
        .exec(conn)
        .await?;
    if done.rows_affected == 0 {
        return Ok(false);
    }
    let row = revoked::Model {
        org_id: scope.org_id().uuid(),
        service_account_id: id.uuid(),
        revoke_time: now,
    };
    revoked::Entity::insert(row.into_active_model())
        .exec_without_returning(conn)
        .await?;
    Ok(true)
}

/// Lists the accounts of all organizations that were revoked after `since`. The list belongs to no
/// organization, so this has no scope.
pub(crate) async fn list_revoked(
    conn: &impl ConnectionTrait,
    since: DateTime<Utc>,
    limit: u64,
) -> Result<Vec<ServiceAccountId>, StorageError> {
    let ids: Vec<Uuid> = revoked::Entity::find()
        .select_only()
        .column(revoked::Column::ServiceAccountId)
        .filter(revoked::Column::RevokeTime.gt(since))
        .limit(limit)
        .into_tuple()
        .all(conn)
        .await?;
    Ok(ids.into_iter().map(ServiceAccountId::from_uuid).collect())
}

/// Forgets the accounts of all organizations that were revoked before `until`, like [`list_revoked`] without
/// a scope.
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

/// Finds the account of a key that was not revoked. The presenter of a key does not name the organization,
/// so this has no scope.
pub(super) async fn find_by_key(
    conn: &impl ConnectionTrait,
    digest: Vec<u8>,
) -> Result<Option<ServiceAccount>, StorageError> {
    let row = Entity::find()
        .filter(Column::KeyDigest.eq(digest))
        .filter(Column::RevokeTime.is_null())
        .one(conn)
        .await?;
    Ok(row.map(ServiceAccount::from))
}
