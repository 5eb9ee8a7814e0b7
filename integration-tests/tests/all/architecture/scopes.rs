//! A storage function that serves a call about an organization requires an `OrgScope`. Those that are given a
//! bare id of an organization stand in a list, each with the reason.
use std::collections::BTreeSet;

use syn::visit::{self, Visit};

use super::{is_test, sources};

const SNAPSHOT: &str = "snapshot of the feed, whose server compares the organization with the caller";
const ENDING: &str = "part of the transaction of a fact, whose own storage function requires the scope";

/// Storage functions that are given the id of an organization and no scope: the folder below `services`, the
/// function, and the reason.
const WITHOUT_A_SCOPE: &[(&str, &str, &str)] = &[
    ("call-scheduling/src/calls", "list_for_snapshot", SNAPSHOT),
    ("invitation/src/acceptance", "list_for_snapshot", SNAPSHOT),
    ("invitation/src/invitations", "list_for_snapshot", SNAPSHOT),
    ("membership/src/assignments", "list_current", SNAPSHOT),
    ("membership/src/duties", "list_current", SNAPSHOT),
    ("membership/src/enrollments", "list_current", SNAPSHOT),
    ("membership/src/guardianships", "list_in_force", SNAPSHOT),
    ("membership/src/guardianships", "list_protected", SNAPSHOT),
    ("membership/src/join_requests", "list_for_snapshot", SNAPSHOT),
    ("membership/src/member_records", "list_for_snapshot", SNAPSHOT),
    ("membership/src/suspensions", "list_current", SNAPSHOT),
    ("org-registry/src/organizations", "list_for_snapshot", SNAPSHOT),
    ("org-registry/src/units", "list_for_snapshot", SNAPSHOT),
    (
        "membership/src/guardianships",
        "list_current",
        "snapshot of the feed, and the check of a roster import, whose caller was authorized before",
    ),
    (
        "membership/src/acting_heads",
        "find_current",
        "snapshot of the feed, and GetActingHead, which passes the organization of its scope",
    ),
    ("membership/src/endings", "put", ENDING),
    ("membership/src/endings", "delete", ENDING),
    (
        "membership/src/endings",
        "is_due_before",
        "read before the caller is authorized, to refuse a call on rights that should have ended",
    ),
    (
        "membership/src/service_accounts",
        "record_use",
        "the caller presents the key of the account and no token of an organization",
    ),
    (
        "membership/src/appointments",
        "list_open",
        "a page of all organizations, which begins after the one that is given",
    ),
    (
        "membership/src/member_records",
        "list_of_account",
        "a page of all organizations, which begins after the one that is given",
    ),
    (
        "org-registry/src/organizations",
        "list",
        "a page of all organizations, which begins after the one that is given",
    ),
    (
        "org-registry/src/organizations",
        "policies_versions",
        "the operator reads the changes of all organizations",
    ),
    (
        "chat/src/entries",
        "lock_organization",
        "a lock without rows, which a caller or a consumer takes before it reads",
    ),
    (
        "chat/src/entries",
        "find_heads",
        "the comparison of live streams reads for many organizations at once",
    ),
    (
        "chat/src/entries",
        "count_chats",
        "the comparison of live streams reads for many organizations at once",
    ),
];

/// The functions of a storage file that are visible outside of it and have an id of an organization, but no
/// scope, among their parameters.
#[derive(Default)]
struct Functions(BTreeSet<String>);

/// The names of types in a signature.
#[derive(Default)]
struct Types(BTreeSet<String>);

impl<'ast> Visit<'ast> for Types {
    fn visit_path(&mut self, path: &'ast syn::Path) {
        self.0
            .extend(path.segments.iter().map(|segment| segment.ident.to_string()));
        visit::visit_path(self, path);
    }
}

impl<'ast> Visit<'ast> for Functions {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        if !is_test(item) {
            visit::visit_item(self, item);
        }
    }

    fn visit_item_fn(&mut self, function: &'ast syn::ItemFn) {
        let mut types = Types::default();
        for input in &function.sig.inputs {
            types.visit_fn_arg(input);
        }
        let is_visible = !matches!(function.vis, syn::Visibility::Inherited);
        let reads = is_visible && function.sig.asyncness.is_some();
        if reads && types.0.contains("OrgId") && !types.0.contains("OrgScope") {
            self.0.insert(function.sig.ident.to_string());
        }
    }
}

fn found_in(source: &str) -> BTreeSet<String> {
    let mut functions = Functions::default();
    functions.visit_file(&syn::parse_file(source).expect("a Rust source"));
    functions.0
}

#[test]
fn storage_of_an_organization_requires_a_scope() {
    let mut found = BTreeSet::new();
    for (path, source) in sources(false) {
        let Some(path) = path.strip_prefix("services/") else {
            continue;
        };
        let Some((feature, _)) = path.split_once("/storage") else {
            continue;
        };
        let functions = found_in(&source).into_iter();
        found.extend(functions.map(|function| (feature.to_owned(), function)));
    }
    let listed: BTreeSet<(String, String)> = WITHOUT_A_SCOPE
        .iter()
        .map(|(feature, function, _)| ((*feature).to_owned(), (*function).to_owned()))
        .collect();
    let new: Vec<_> = found.difference(&listed).collect();
    let gone: Vec<_> = listed.difference(&found).collect();
    assert!(
        new.is_empty() && gone.is_empty(),
        "take `&OrgScope`, or add the function with a reason: {new:#?}\nno longer there: {gone:#?}"
    );
}

#[test]
fn functions_without_a_scope_are_found() {
    let source = "
        pub(super) async fn scoped(tx: &Tx, scope: &OrgScope, org: OrgId) {}
        pub(super) async fn bare(tx: &Tx, org: OrgId) {}
        pub(super) async fn many(tx: &Tx, chats: &[(OrgId, ChatId)]) {}
        pub(super) fn pure(org: OrgId) {}
        async fn private(org: OrgId) {}
        #[cfg(test)]
        mod tests { pub(super) async fn of_test(org: OrgId) {} }";
    let found = found_in(source);
    assert_eq!(found.into_iter().collect::<Vec<_>>(), ["bare", "many"]);
}
