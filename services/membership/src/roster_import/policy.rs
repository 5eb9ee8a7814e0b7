//! Rules for importing rosters.
use parta_access::{Decision, PermissionRule};
use parta_roster::MemberContext;

/// Whether the caller may check, start and read imports.
pub(crate) fn import(caller: &MemberContext) -> Decision {
    crate::member_records::manage(caller)
}

/// The feature's rows of the permission matrix.
pub(crate) fn rules() -> Vec<PermissionRule> {
    let rpcs = [
        "parta.membership.v1.RosterImportService/CheckRosterImport",
        "parta.membership.v1.RosterImportService/StartRosterImport",
        "parta.membership.v1.RosterImportService/DecideRosterImportChanges",
        "parta.membership.v1.RosterImportService/GetRosterImport",
        "parta.membership.v1.RosterImportService/ListRosterImports",
        "parta.membership.v1.RosterImportService/ListRosterImportChanges",
        "parta.membership.v1.RosterImportService/ListRosterImportProblems",
        "parta.membership.v1.RosterImportService/WatchRosterImport",
    ];
    let imports = |kind| MemberContext::sample(kind).is_some_and(|facts| import(&facts).is_allowed());
    rpcs.map(|rpc| PermissionRule::own(rpc, imports)).to_vec()
}
