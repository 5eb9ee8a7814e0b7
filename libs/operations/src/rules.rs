//! The rows of the permission matrix of the gRPC services that every service serves alike.

use parta_access::{PermissionRule, PrincipalKind};
use parta_proto::{FeedKind, JobApi, QuarantineApi};

/// Returns the rows of the feed, of the jobs and of the quarantines of one service.
pub fn common_rules<F: FeedKind, J: JobApi, Q: QuarantineApi>() -> Vec<PermissionRule> {
    let mut rules = feed_rules::<F>();
    let operators = J::RPCS.into_iter().chain(Q::RPCS);
    rules
        .extend(operators.map(|rpc| PermissionRule::everywhere(rpc, |kind| kind == PrincipalKind::Operator)));
    rules
}

/// Services and external systems read a feed. Only a service may follow the heads of all logs.
fn feed_rules<F: FeedKind>() -> Vec<PermissionRule> {
    let follows = |kind| matches!(kind, PrincipalKind::Service | PrincipalKind::ServiceAccount);
    let [read, watch, snapshot, watch_heads] = F::RPCS;
    vec![
        PermissionRule::own(read, follows),
        PermissionRule::own(watch, follows),
        PermissionRule::own(snapshot, follows),
        PermissionRule::own(watch_heads, |kind| kind == PrincipalKind::Service),
    ]
}
