//! The table `released_profile`: which accounts held which records before staff released them. The rows are
//! kept, because they say who wrote what an earlier person wrote as the member.
use chrono::{DateTime, Utc};
use parta_access::OrgScope;
use parta_database::{StorageError, table};
use parta_ids::{AccountId, MemberId, TypedId as _};
use sea_orm::{ActiveValue::Set, ConnectionTrait, EntityTrait as _, sea_query::OnConflict};

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
