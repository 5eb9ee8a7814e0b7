//! The permission matrix of the service, computed by the policies of its features (`docs/permissions.md`).
use parta_access::{Permission, PrincipalKind};

use crate::{applications, feed, organizations, units};

/// Which kinds of principals may call an RPC.
pub(crate) struct Rule {
    rpc: &'static str,
    allows: fn(PrincipalKind) -> bool,
    /// Whether the RPC belongs to no organization.
    everywhere: bool,
}

impl Rule {
    /// An RPC that reaches the caller's own organization. The operator and services reach every organization.
    pub(crate) fn own(rpc: &'static str, allows: fn(PrincipalKind) -> bool) -> Self {
        Self {
            rpc,
            allows,
            everywhere: false,
        }
    }

    /// An RPC that belongs to no organization.
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
        organizations::rules(),
        units::rules(),
        applications::rules(),
        feed::rules(),
    ];
    let mut rows = Vec::new();
    for rule in rules.into_iter().flatten() {
        for kind in PrincipalKind::ALL {
            let own = (rule.allows)(kind);
            let reaches_all = matches!(kind, PrincipalKind::Operator | PrincipalKind::Service);
            rows.push(Permission {
                rpc: rule.rpc,
                kind,
                own,
                foreign: own && (rule.everywhere || reaches_all),
            });
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rpc_has_its_rows_and_refusals_prevail() {
        let rows = permissions();
        let pool = parta_proto::descriptor_pool().unwrap();
        for service in crate::GRPC_SERVICES {
            for method in pool.get_service_by_name(service).unwrap().methods() {
                let rpc = format!("{service}/{}", method.name());
                assert_eq!(
                    rows.iter().filter(|r| r.rpc == rpc).count(),
                    PrincipalKind::ALL.len(),
                    "{rpc}"
                );
            }
        }
        let allowed: usize = rows
            .iter()
            .map(|r| usize::from(r.own) + usize::from(r.foreign))
            .sum();
        assert!(rows.len() * 2 - allowed >= 2 * allowed);
    }
}
