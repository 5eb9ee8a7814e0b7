use parta_access::Caller;
use parta_database::{StorageError, Tx};
use parta_ids::{OrgId, TypedId};
use sea_orm::{ConnectionTrait, Statement};
use uuid::Uuid;

/// Records, in the transaction of the act, that `caller` carried out its RPC on `object`, for example
/// `organizations/{org}/units/{unt}`. `org_id` is `None` for acts on the platform itself.
pub async fn record(
    tx: &Tx,
    caller: &Caller,
    org_id: Option<OrgId>,
    object: impl Into<String> + Send,
) -> Result<(), StorageError> {
    let sql = "INSERT INTO audit_entry (org_id, entry_id, occur_time, rpc, actor, on_behalf_of, object, request_id) \
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
    let values = [
        chain_key(org_id).into(),
        tx.env().ids.uuid().into(),
        tx.now().into(),
        (&*caller.rpc).into(),
        caller.principal.key().into(),
        caller
            .on_behalf_of
            .as_ref()
            .map(parta_access::Principal::key)
            .into(),
        object.into().into(),
        tx.request_id().into(),
    ];
    tx.execute_raw(Statement::from_sql_and_values(
        tx.get_database_backend(),
        sql,
        values,
    ))
    .await?;
    Ok(())
}

/// Returns the key of the chain of an organization; the chain of the platform has the nil id.
pub(crate) fn chain_key(org_id: Option<OrgId>) -> Uuid {
    org_id.map_or(Uuid::nil(), TypedId::uuid)
}
