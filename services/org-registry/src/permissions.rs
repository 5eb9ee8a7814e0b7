//! The permission matrix of the service, computed by the policies of its features (`docs/permissions.md`).
use parta_access::{Permission, permission_rows};

use crate::{applications, assembly, organizations, policies, units};

/// Returns one row for each RPC and kind of principal.
pub fn permissions() -> Vec<Permission> {
    let rules = [
        organizations::rules(),
        policies::rules(),
        units::rules(),
        applications::rules(),
        assembly::common_rules(),
    ];
    permission_rows(rules.into_iter().flatten())
}

#[cfg(test)]
mod tests {
    use parta_access::PrincipalKind;

    use super::*;

    #[test]
    fn every_rpc_has_its_rows_and_refusals_prevail() {
        let rows = permissions();
        let pool = parta_proto_all::descriptor_pool().unwrap();
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
        // Each row has two cells, for the caller's organization and for another one. At most a third of
        // them allow.
        assert!(rows.len() * 2 - allowed >= 2 * allowed);
    }
}
