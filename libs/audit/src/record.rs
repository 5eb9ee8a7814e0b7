use parta_access::Caller;
use parta_database::{StorageError, Tx};
use parta_ids::{OrgId, TypedId};
use sea_orm::{EntityTrait, IntoActiveModel};
use uuid::Uuid;

use crate::entities::entry;

/// Records, in the transaction of the act, that `caller` carried out its RPC on `object`, for example
/// `organizations/{org}/units/{unt}`. `org_id` is `None` for acts on the platform itself.
pub async fn record(
    tx: &Tx,
    caller: &Caller,
    org_id: Option<OrgId>,
    object: impl Into<String> + Send,
) -> Result<(), StorageError> {
    let row = entry::Model {
        org_id: chain_key(org_id),
        entry_id: tx.env().ids.uuid(),
        occur_time: tx.now(),
        rpc: caller.rpc.to_owned(),
        actor: caller.principal.key(),
        on_behalf_of: caller.on_behalf_of.as_ref().map(parta_access::Principal::key),
        object: object.into(),
        request_id: tx.request_id(),
        seq: None,
        prev_hash: None,
        hash: None,
    };
    entry::Entity::insert(row.into_active_model())
        .exec_without_returning(tx)
        .await?;
    Ok(())
}

/// Records, as [`record`] does, that `caller` carried out its RPC on an object of an organization, for
/// example `units/{unt}`.
pub async fn record_within(
    tx: &Tx,
    caller: &Caller,
    org_id: OrgId,
    object: String,
) -> Result<(), StorageError> {
    record(
        tx,
        caller,
        Some(org_id),
        format!("organizations/{org_id}/{object}"),
    )
    .await
}

/// Returns the key of the chain of an organization; the chain of the platform has the nil id.
pub(crate) fn chain_key(org_id: Option<OrgId>) -> Uuid {
    org_id.map_or(Uuid::nil(), TypedId::uuid)
}
