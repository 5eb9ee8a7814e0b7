//! The permission matrix of the suite, computed by the policies of the services.

use std::{collections::BTreeMap, fmt::Write as _};

use parta_access::{AccessRules, CreatorPermission, Permission, PrincipalKind, ServiceAccountPermission};

/// Returns the rows of all services.
pub fn rows() -> Vec<Permission> {
    [
        parta_org_registry::permissions(),
        parta_membership::permissions(),
        parta_invitation::permissions(),
        parta_chat::permissions(),
        parta_call_scheduling::permissions(),
    ]
    .concat()
}

/// Returns the permissions that a principal has only for its own objects, of all services.
pub fn creator_rows() -> Vec<CreatorPermission> {
    parta_call_scheduling::creator_permissions()
}

/// Permissions by RPC and kind of principal, in the caller's and in the other organization.
type Methods<'a> = BTreeMap<&'a str, BTreeMap<PrincipalKind, (bool, bool)>>;

/// The header of docs/permissions.md, with the numbers of permissions and refusals.
fn header(allowed: usize, refused: usize) -> String {
    format!(
        "\
# Permissions

This page lists who may call which RPC: {allowed} permissions and {refused} refusals. `cargo xtask docs`
writes it from the policies of the services. To change a cell, change the policy of the feature (`policy.rs`)
and run the command again. The test in `integration-tests/tests/all/permissions` makes the call of every cell
over the public API.

Each table is a gRPC service, each row an RPC, and each column a kind of caller. A cell is one of:

- `own`: permitted in the caller's own organization, for objects that concern the caller;
- `all`: permitted in every organization, or the RPC belongs to no organization;
- `creator`: permitted in the caller's own organization, only for objects that the caller created, for example
  a call that the caller organizes;
- `.`: refused.

A cell does not say which objects a list contains, or which states of an object forbid the act: the comment of
the RPC does. In the columns:

- *account* is a signed-in person with an account token, which names no organization;
- *joiner* is a person who accepts an invitation, with a join ticket;
- *teacher* is a verified subject teacher of the class;
- *service account* is an external system that has every permission;
- *service* is a service that the access rule of the RPC names.

Other members have no column. Deputies may do what the head may do, except that only the head can remove an
administrator with a stated cause. Other staff without a duty meet no pupils. The test `permissions::grounds`
compares each of these with a column and calls every RPC: other staff, the holder of a duty, a deputy, a
substitute, a suspended and a former member, a parent without confirmation, with each limit and with the role
of staff, a trusted person, and a pupil of full age. The head of the table has no badge.
"
    )
}

/// Formats docs/permissions.md.
pub fn document() -> String {
    let (rows, creators) = (rows(), creator_rows());
    let allowed: usize = rows
        .iter()
        .map(|row| usize::from(row.own) + usize::from(row.foreign))
        .sum();
    let refused = rows.len() * 2 - allowed;
    let allowed = allowed + creators.len();
    let is_creator = |service: &str, method: &str, kind| {
        let mut rows = creators.iter();
        rows.any(|row| row.kind == kind && row.rpc.split_once('/') == Some((service, method)))
    };
    let mut services: BTreeMap<&str, Methods<'_>> = BTreeMap::new();
    for row in &rows {
        let (service, method) = row.rpc.split_once('/').unwrap_or((row.rpc, ""));
        let methods = services.entry(service).or_default();
        let cells = methods.entry(method).or_default();
        cells.insert(row.kind, (row.own, row.foreign));
    }
    let mut text = header(allowed, refused);
    for (service, methods) in services {
        _ = write!(text, "\n## {service}\n\n| RPC |");
        for kind in PrincipalKind::ALL {
            _ = write!(text, " {} |", label(kind));
        }
        text.push_str("\n|---|");
        text.push_str(&"---|".repeat(PrincipalKind::ALL.len()));
        text.push('\n');
        for (method, cells) in methods {
            _ = write!(text, "| {method} |");
            for kind in PrincipalKind::ALL {
                let cell = match cells.get(&kind) {
                    Some((true, true)) => "all",
                    Some((true, false)) => "own",
                    Some((false, true)) => "foreign",
                    Some((false, false)) if is_creator(service, method, kind) => "creator",
                    Some((false, false)) => ".",
                    None => "?",
                };
                _ = write!(text, " {cell} |");
            }
            text.push('\n');
        }
    }
    text.push_str(&service_account_permissions());
    text
}

/// Formats the catalog of the permissions of service accounts, each with the RPCs whose access rule names it.
fn service_account_permissions() -> String {
    let services: Vec<_> = parta::SERVICES
        .iter()
        .flat_map(|service| service.grpc_services.iter().copied())
        .collect();
    let pool = parta_proto_all::descriptor_pool().expect("the descriptor set");
    let rules = AccessRules::load(pool, &services).expect("access rules");
    let mut text = "
## Permissions of service accounts

The catalog. CreateServiceAccount refuses every other name, and GetPermissionCatalog returns these. All are
reads: no RPC that changes state accepts a service account.

| permission | what it gives | RPCs |
|---|---|---|
"
    .to_owned();
    for permission in ServiceAccountPermission::ALL {
        let opened = rules
            .iter()
            .filter(|(_, rule)| rule.permission == Some(permission));
        let mut rpcs: Vec<_> = opened
            .filter_map(|(rpc, _)| rpc.rsplit_once('.').map(|(_, name)| format!("`{name}`")))
            .collect();
        rpcs.sort();
        let (english, _) = permission.description();
        _ = writeln!(text, "| `{permission}` | {english} | {} |", rpcs.join(", "));
    }
    text
}

/// Returns the heading of a column.
fn label(kind: PrincipalKind) -> &'static str {
    match kind {
        PrincipalKind::Anonymous => "anonymous",
        PrincipalKind::Account => "account",
        PrincipalKind::Joiner => "joiner",
        PrincipalKind::Pupil => "pupil",
        PrincipalKind::Parent => "parent",
        PrincipalKind::UnverifiedTeacher => "unverified teacher",
        PrincipalKind::Teacher => "teacher",
        PrincipalKind::ClassTeacher => "class teacher",
        PrincipalKind::Administrator => "administrator",
        PrincipalKind::Head => "head",
        PrincipalKind::Operator => "operator",
        PrincipalKind::ServiceAccount => "service account",
        PrincipalKind::Service => "service",
    }
}
