//! The permission matrix of the service, computed by the policies of its features (`docs/permissions.md`).
use parta_access::{Permission, PrincipalKind};

use crate::{announcements, calls, feed, join};

/// The kinds of principals that may call an RPC.
pub(crate) struct Rule {
    rpc: &'static str,
    allows: fn(PrincipalKind) -> bool,
}

impl Rule {
    /// An RPC that reaches only the caller's own organization.
    pub(crate) fn own(rpc: &'static str, allows: fn(PrincipalKind) -> bool) -> Self {
        Self { rpc, allows }
    }
}

fn rules() -> impl Iterator<Item = Rule> {
    let features = [
        calls::rules(),
        join::rules(),
        announcements::rules(),
        feed::rules(),
    ];
    features.into_iter().flatten()
}

/// One row for each RPC and kind of principal.
pub fn permissions() -> Vec<Permission> {
    let mut rows = Vec::new();
    for rule in rules() {
        for kind in PrincipalKind::ALL {
            let own = (rule.allows)(kind);
            rows.push(Permission {
                rpc: rule.rpc,
                kind,
                own,
                // Services see every organization.
                foreign: own && kind == PrincipalKind::Service,
            });
        }
    }
    rows
}
