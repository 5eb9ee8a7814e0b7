//! The permission matrix of the service, computed by the policies of its features (`docs/permissions.md`).
use parta_access::{Permission, PrincipalKind};

use crate::{chats, feed, live, messages};

/// The kinds of principals that may call an RPC.
pub(crate) struct Rule {
    rpc: &'static str,
    allows: fn(PrincipalKind) -> bool,
}

impl Rule {
    pub(crate) fn own(rpc: &'static str, allows: fn(PrincipalKind) -> bool) -> Self {
        Self { rpc, allows }
    }
}

/// One row for each RPC and kind of principal.
pub fn permissions() -> Vec<Permission> {
    let follows = [
        Rule::own("parta.chat.v1.ChatFeedService/Watch", feed::may_follow),
        Rule::own("parta.chat.v1.ChatFeedService/Snapshot", feed::may_follow),
    ];
    let rules = [chats::rules(), messages::rules(), live::rules(), follows.into()];
    let mut rows = Vec::new();
    for rule in rules.into_iter().flatten() {
        for kind in PrincipalKind::ALL {
            let own = (rule.allows)(kind);
            rows.push(Permission {
                rpc: rule.rpc,
                kind,
                own,
                // Only services reach every organization.
                foreign: own && kind == PrincipalKind::Service,
            });
        }
    }
    rows
}
