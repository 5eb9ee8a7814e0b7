//! The permission matrix of the service, computed by the policies of its features (`docs/permissions.md`).
use parta_access::{CreatorPermission, Permission, PrincipalKind};

use crate::{announcements, calls, feed, join};

/// The kinds of principals that may call an RPC.
pub(crate) struct Rule {
    rpc: &'static str,
    /// Towards an object that another member created.
    allows: fn(PrincipalKind) -> bool,
    /// Towards an object that the principal created.
    allows_creator: Option<fn(PrincipalKind) -> bool>,
}

impl Rule {
    /// An RPC that reaches only the caller's own organization.
    pub(crate) fn own(rpc: &'static str, allows: fn(PrincipalKind) -> bool) -> Self {
        Self {
            rpc,
            allows,
            allows_creator: None,
        }
    }

    /// Adds the kinds of principals that may call the RPC for what they created.
    pub(crate) fn or_creator(mut self, allows: fn(PrincipalKind) -> bool) -> Self {
        self.allows_creator = Some(allows);
        self
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

/// The permissions that principals have only for calls that they organize.
pub fn creator_permissions() -> Vec<CreatorPermission> {
    let mut rows = Vec::new();
    for rule in rules() {
        let Some(allows_creator) = rule.allows_creator else {
            continue;
        };
        let kinds = PrincipalKind::ALL.into_iter();
        rows.extend(
            kinds
                .filter(|kind| allows_creator(*kind) && !(rule.allows)(*kind))
                .map(|kind| CreatorPermission { rpc: rule.rpc, kind }),
        );
    }
    rows
}
