//! The authorization table of the service, computed by its policy (`docs/permissions.md`).

use parta_access::{Permission, PrincipalKind as Kind};
use parta_roster::MemberContext;

use crate::units::policy;

type Rule = fn(Kind) -> bool;

/// One row for each RPC and kind of principal.
pub fn permissions() -> Vec<Permission> {
    let rules: [(&'static str, Rule); 17] = [
        (
            "parta.org_registry.v1.ApplicationService/SubmitApplication",
            |k| matches!(k, Kind::Anonymous | Kind::Account),
        ),
        (
            "parta.org_registry.v1.ApplicationService/GetApplication",
            operator,
        ),
        (
            "parta.org_registry.v1.ApplicationService/ListApplications",
            operator,
        ),
        (
            "parta.org_registry.v1.ApplicationService/DownloadApplicationOrder",
            operator,
        ),
        (
            "parta.org_registry.v1.ApplicationService/ApproveApplication",
            operator,
        ),
        (
            "parta.org_registry.v1.ApplicationService/RefuseApplication",
            operator,
        ),
        ("parta.org_registry.v1.OrganizationService/GetOrganization", |k| {
            operator(k)
                || k == Kind::ServiceAccount
                || MemberContext::sample(k).is_some_and(|f| policy::read_organization(&f).is_allowed())
        }),
        (
            "parta.org_registry.v1.OrganizationService/ListOrganizations",
            operator,
        ),
        (
            "parta.org_registry.v1.OrganizationService/UpdateOrganization",
            administers,
        ),
        (
            "parta.org_registry.v1.OrganizationService/ChangePolicies",
            administers,
        ),
        ("parta.org_registry.v1.UnitService/CreateUnit", structures),
        ("parta.org_registry.v1.UnitService/GetUnit", |k| {
            k == Kind::ServiceAccount
                || MemberContext::sample(k)
                    .is_some_and(|f| policy::sees_unit(&f, MemberContext::sample_unit()))
        }),
        ("parta.org_registry.v1.UnitService/ListUnits", |k| {
            k == Kind::ServiceAccount
                || MemberContext::sample(k).is_some_and(|f| policy::list_units(&f).is_allowed())
        }),
        ("parta.org_registry.v1.UnitService/RenameUnit", structures),
        ("parta.org_registry.v1.UnitService/ArchiveUnit", structures),
        ("parta.org_registry.v1.OrgRegistryFeedService/Watch", follows),
        ("parta.org_registry.v1.OrgRegistryFeedService/Snapshot", follows),
    ];
    let mut rows = Vec::with_capacity(rules.len() * Kind::ALL.len());
    for (rpc, rule) in rules {
        for kind in Kind::ALL {
            let own = rule(kind);
            // Applicants have no organization yet; operator and services work for every one.
            let crosses =
                rpc.ends_with("/SubmitApplication") || matches!(kind, Kind::Operator | Kind::Service);
            rows.push(Permission {
                rpc,
                kind,
                own,
                foreign: own && crosses,
            });
        }
    }
    rows
}

fn operator(kind: Kind) -> bool {
    kind == Kind::Operator
}
fn administers(kind: Kind) -> bool {
    MemberContext::sample(kind).is_some_and(|f| policy::administer(&f).is_allowed())
}
fn structures(kind: Kind) -> bool {
    MemberContext::sample(kind).is_some_and(|f| policy::structure(&f).is_allowed())
}
fn follows(kind: Kind) -> bool {
    matches!(kind, Kind::Service | Kind::ServiceAccount)
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
                    Kind::ALL.len(),
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
