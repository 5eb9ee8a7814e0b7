//! The feed of the service: its snapshot over all features.
use parta_database::Tx;
use parta_ids::OrgId;
use parta_proto_call_scheduling::v1::call_scheduling_event::Payload;
use parta_status::RpcError;

use crate::calls;

/// Returns the events that build the current state from an empty one.
pub(crate) async fn snapshot(tx: Tx, org: OrgId) -> Result<Vec<Payload>, RpcError> {
    Ok(calls::snapshot(&tx, org).await?)
}
