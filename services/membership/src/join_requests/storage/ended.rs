//! The table `ended_invitation`: the invitations that were revoked. They admit nobody, neither an acceptance
//! that was on its way nor one by a link that a backup of invitation brought back. The rows are kept as long
//! as the invitations, which invitation never deletes.
use chrono::{DateTime, Utc};
use parta_access::OrgScope;
use parta_database::{StorageError, Tx, insert_if_absent, table};
use parta_ids::{InvitationId, TypedId as _};
use sea_orm::{ActiveValue::Set, ConnectionTrait, EntityTrait as _};

use entity::{ActiveModel, Entity};

table!(entity, "ended_invitation", {
    #[sea_orm(primary_key, auto_increment = false)]
    org_id: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    invitation_id: Uuid,
    end_time: DateTimeUtc,
});

/// Acquires the lock of an invitation until the transaction ends: shared to admit by it, exclusive to end it.
/// There is no row to lock before the invitation has ended. SQLite has one writer.
pub(in crate::join_requests) async fn lock_invitation(
    tx: &Tx,
    invitation: InvitationId,
    exclusive: bool,
) -> Result<(), StorageError> {
    if !tx.db().is_postgres() {
        return Ok(());
    }
    let sql = if exclusive {
        "SELECT pg_advisory_xact_lock($1)"
    } else {
        "SELECT pg_advisory_xact_lock_shared($1)"
    };
    // The low half of a UUIDv7 is random.
    let key = invitation.uuid().as_u64_pair().1.cast_signed();
    tx.execute_sql(sql, [key.into()]).await?;
    Ok(())
}

/// Notes that an invitation has ended. The first end counts.
pub(in crate::join_requests) async fn insert_ended(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    invitation: InvitationId,
    now: DateTime<Utc>,
) -> Result<(), StorageError> {
    let row = ActiveModel {
        org_id: Set(scope.org_id().uuid()),
        invitation_id: Set(invitation.uuid()),
        end_time: Set(now),
    };
    insert_if_absent::<Entity>(conn, row).await?;
    Ok(())
}

/// Whether an invitation has ended.
pub(in crate::join_requests) async fn is_ended(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    invitation: InvitationId,
) -> Result<bool, StorageError> {
    let key = (scope.org_id().uuid(), invitation.uuid());
    Ok(Entity::find_by_id(key).one(conn).await?.is_some())
}
