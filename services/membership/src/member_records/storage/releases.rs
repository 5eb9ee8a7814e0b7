//! The table `released_profile`: which accounts held which records before staff released them. The rows are
//! kept, because they say who wrote what an earlier person wrote as the member.
use chrono::{DateTime, Utc};
use parta_access::OrgScope;
use parta_database::{StorageError, table};
use parta_ids::{AccountId, MemberId, OrgId, TypedId as _};
use sea_orm::{
    ActiveValue::Set, ColumnTrait as _, ConnectionTrait, EntityTrait as _, QueryFilter as _,
    QuerySelect as _, sea_query::OnConflict,
};

use entity::{ActiveModel, Column, Entity};

table!(entity, "released_profile", {
    #[sea_orm(primary_key, auto_increment = false)]
    org_id: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    member_id: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    account_id: Uuid,
    release_time: DateTimeUtc,
});

/// The release of a record from an account.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Release {
    pub(crate) org_id: OrgId,
    pub(crate) member_id: MemberId,
    pub(crate) account_id: AccountId,
    pub(crate) release_time: DateTime<Utc>,
}

/// Notes that a record was released from an account, at a time of the clock of the database. A second release
/// from the same account replaces the first one.
pub(crate) async fn upsert(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    member: MemberId,
    account: AccountId,
    release_time: DateTime<Utc>,
) -> Result<(), StorageError> {
    let row = ActiveModel {
        org_id: Set(scope.org_id().uuid()),
        member_id: Set(member.uuid()),
        account_id: Set(account.uuid()),
        release_time: Set(release_time),
    };
    let again = OnConflict::columns([Column::OrgId, Column::MemberId, Column::AccountId])
        .update_column(Column::ReleaseTime)
        .to_owned();
    Entity::insert(row)
        .on_conflict(again)
        .exec_without_returning(conn)
        .await?;
    Ok(())
}

/// Lists the releases after `since` in all organizations.
pub(crate) async fn list_since(
    conn: &impl ConnectionTrait,
    since: DateTime<Utc>,
    limit: u64,
) -> Result<Vec<Release>, StorageError> {
    let rows = Entity::find()
        .filter(Column::ReleaseTime.gt(since))
        .limit(limit)
        .all(conn)
        .await?;
    let release = |row: entity::Model| Release {
        org_id: OrgId::from_uuid(row.org_id),
        member_id: MemberId::from_uuid(row.member_id),
        account_id: AccountId::from_uuid(row.account_id),
        release_time: row.release_time,
    };
    Ok(rows.into_iter().map(release).collect())
}
