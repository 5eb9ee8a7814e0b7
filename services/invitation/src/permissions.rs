//! The permission matrix of the service, computed by the policies of its features (`docs/permissions.md`).
use parta_access::{Permission, PrincipalKind};

use crate::{acceptance, feed, invitations, lineage};

/// Which kinds of principals may call an RPC.
pub(crate) struct Rule {
    rpc: &'static str,
    allows: fn(PrincipalKind) -> bool,
    /// Whether the RPC also reaches organizations that the caller is not a member of.
    everywhere: bool,
}

impl Rule {
    /// An RPC that reaches only the caller's own organization.
    pub(crate) fn own(rpc: &'static str, allows: fn(PrincipalKind) -> bool) -> Self {
        Self {
            rpc,
            allows,
            everywhere: false,
        }
    }

    /// An RPC that reaches every organization.
    pub(crate) fn everywhere(rpc: &'static str, allows: fn(PrincipalKind) -> bool) -> Self {
        Self {
            rpc,
            allows,
            everywhere: true,
        }
    }
}

/// One row for each RPC and kind of principal.
pub fn permissions() -> Vec<Permission> {
    let rules = [
        invitations::rules(),
        acceptance::rules(),
        lineage::rules(),
        feed::rules(),
    ];
    let mut rows = Vec::new();
    for rule in rules.into_iter().flatten() {
        for kind in PrincipalKind::ALL {
            let own = (rule.allows)(kind);
            rows.push(Permission {
                rpc: rule.rpc,
                kind,
                own,
                // Services see every organization.
                foreign: own && (rule.everywhere || kind == PrincipalKind::Service),
            });
        }
    }
    rows
}
