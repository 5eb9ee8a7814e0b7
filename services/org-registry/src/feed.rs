//! The feed of the service: its snapshot over all features.
use parta_access::{PermissionRule, PrincipalKind};
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

/// The feed's rows of the permission matrix.
pub(crate) fn rules() -> Vec<PermissionRule> {
    let follows = |kind| matches!(kind, PrincipalKind::Service | PrincipalKind::ServiceAccount);
    let serves = |kind| matches!(kind, PrincipalKind::Service);
    vec![
        PermissionRule::own("parta.org_registry.v1.OrgRegistryFeedService/Read", follows),
        PermissionRule::own("parta.org_registry.v1.OrgRegistryFeedService/Watch", follows),
        PermissionRule::own("parta.org_registry.v1.OrgRegistryFeedService/Snapshot", follows),
        PermissionRule::own("parta.org_registry.v1.OrgRegistryFeedService/WatchHeads", serves),
    ]
}
