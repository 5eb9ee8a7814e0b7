//! The rows of the permission matrix of the gRPC services that every service serves alike.

use parta_access::{PermissionRule, PrincipalKind};
use parta_proto::FeedKind;

/// Returns the rows of the feed of one service, and of its RPCs for the operator of the installation.
pub fn common_rules<F: FeedKind>(operator_rpcs: [&'static str; 9]) -> Vec<PermissionRule> {
    let mut rules = feed_rules::<F>();
    let by_operator = |rpc| PermissionRule::everywhere(rpc, |kind| kind == PrincipalKind::Operator);
    rules.extend(operator_rpcs.map(by_operator));
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
