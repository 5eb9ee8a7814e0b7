//! Named queries over service accounts.
use chrono::{DateTime, Utc};
use parta_access::OrgScope;
use parta_ids::{ServiceAccountId, TypedId as _};
use sea_orm::{
    ActiveValue::Set, ColumnTrait as _, Condition, ConnectionTrait, DbErr, EntityTrait as _,
    QueryFilter as _, QueryOrder as _, QuerySelect as _, sea_query::Expr,
};

pub(crate) use super::entities::service_account::Model as ServiceAccount;
use super::entities::service_account::{ActiveModel, Column, Entity};

pub(crate) async fn insert(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    id: ServiceAccountId,
    display_name: &str,
    permissions: &[String],
    key_digest: Vec<u8>,
    now: DateTime<Utc>,
) -> Result<ServiceAccount, DbErr> {
    let row = ServiceAccount {
        org_id: scope.org_id().uuid(),
        service_account_id: id.uuid(),
        display_name: display_name.to_owned(),
        permissions: permissions.join(" "),
        key_digest,
        create_time: now,
        revoke_time: None,
    };
    let active = ActiveModel {
        org_id: Set(row.org_id),
        service_account_id: Set(row.service_account_id),
        display_name: Set(row.display_name.clone()),
        permissions: Set(row.permissions.clone()),
        key_digest: Set(row.key_digest.clone()),
        create_time: Set(row.create_time),
        revoke_time: Set(None),
    };
    Entity::insert(active).exec_without_returning(conn).await?;
    Ok(row)
}

/// Revokes; `false` where there is no living one.
pub(crate) async fn update_revoked(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    id: ServiceAccountId,
    now: DateTime<Utc>,
) -> Result<bool, DbErr> {
    let done = Entity::update_many()
        .col_expr(Column::RevokeTime, Expr::value(now))
        .filter(Column::OrgId.eq(scope.org_id().uuid()))
        .filter(Column::ServiceAccountId.eq(id.uuid()))
        .filter(Column::RevokeTime.is_null())
        .exec(conn)
        .await?;
    Ok(done.rows_affected == 1)
}

pub(crate) async fn list(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    after: Option<ServiceAccountId>,
    limit: u64,
) -> Result<Vec<ServiceAccount>, DbErr> {
    Entity::find()
        .filter(Column::OrgId.eq(scope.org_id().uuid()))
        .filter(Column::RevokeTime.is_null())
        .filter(Condition::all().add_option(after.map(|id| Column::ServiceAccountId.gt(id.uuid()))))
        .order_by_asc(Column::ServiceAccountId)
        .limit(limit)
        .all(conn)
        .await
}

/// The living account of a key. Whoever presents a key does not know the organization.
pub(crate) async fn find_by_key(
    conn: &impl ConnectionTrait,
    digest: Vec<u8>,
) -> Result<Option<ServiceAccount>, DbErr> {
    Entity::find()
        .filter(Column::KeyDigest.eq(digest))
        .filter(Column::RevokeTime.is_null())
        .one(conn)
        .await
}
