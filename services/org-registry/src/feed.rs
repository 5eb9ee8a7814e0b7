//! The feed of the service: its snapshot over all features.
use parta_database::Tx;
use parta_ids::OrgId;
use parta_proto_org_registry::v1::org_registry_event::Payload;
use parta_status::RpcError;

use crate::{organizations, units};

/// Returns the events that build the current state from an empty one: organizations first, then their units.
pub(crate) async fn snapshot(tx: Tx, org: OrgId) -> Result<Vec<Payload>, RpcError> {
    let mut events = organizations::snapshot(&tx, org).await?;
    events.extend(units::snapshot(&tx, org).await?);
    Ok(events)
}
