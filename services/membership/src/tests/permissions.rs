//! The permission matrix covers the API.
use std::collections::BTreeSet;

use parta_access::PrincipalKind;

use crate::{GRPC_SERVICES, permissions};

#[test]
fn every_rpc_has_a_row_for_every_kind() {
    let pool = parta_proto_all::descriptor_pool().unwrap();
    let mut rpcs = BTreeSet::new();
    for name in GRPC_SERVICES {
        let service = pool.get_service_by_name(name).unwrap();
        rpcs.extend(service.methods().map(|m| format!("{name}/{}", m.name())));
    }
    let rows = permissions();
    let listed: BTreeSet<_> = rows.iter().map(|row| row.rpc.to_owned()).collect();
    assert_eq!(listed, rpcs);
    assert_eq!(rows.len(), rpcs.len() * PrincipalKind::ALL.len());
    let by_secret = ["IssueServiceAccountToken", "RedeemOneTimeCode"];
    let open =
        |rpc: &str| rpc.contains("AuthenticationService") || by_secret.iter().any(|name| rpc.ends_with(name));
    let foreign = rows
        .iter()
        .find(|row| row.kind.is_person() && row.foreign && !open(row.rpc));
    assert_eq!(foreign.map(|row| row.rpc), None);
}
