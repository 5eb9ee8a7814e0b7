//! The feed of the service: its snapshot over all features.
use parta_access::{PermissionRule, PrincipalKind};
use parta_database::Tx;
use parta_ids::OrgId;
use parta_proto_call_scheduling::v1::call_scheduling_event::Payload;
use parta_status::RpcError;

use crate::calls;

/// Returns the events that build the current state from an empty one.
pub(crate) async fn snapshot(tx: Tx, org: OrgId) -> Result<Vec<Payload>, RpcError> {
    Ok(calls::snapshot(&tx, org).await?)
}

/// The feed's rows of the permission matrix.
pub(crate) fn rules() -> Vec<PermissionRule> {
    let follows = |kind| matches!(kind, PrincipalKind::Service | PrincipalKind::ServiceAccount);
    let serves = |kind| matches!(kind, PrincipalKind::Service);
    vec![
        PermissionRule::own("parta.call_scheduling.v1.CallSchedulingFeedService/Read", follows),
        PermissionRule::own(
            "parta.call_scheduling.v1.CallSchedulingFeedService/Watch",
            follows,
        ),
        PermissionRule::own(
            "parta.call_scheduling.v1.CallSchedulingFeedService/Snapshot",
            follows,
        ),
        PermissionRule::own(
            "parta.call_scheduling.v1.CallSchedulingFeedService/WatchHeads",
            serves,
        ),
    ]
}
