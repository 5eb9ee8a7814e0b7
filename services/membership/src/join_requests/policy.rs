//! Rules for deciding who joins: pure functions over facts of the roster.
use std::collections::BTreeSet;

use parta_access::{Decision, PermissionRule, PrincipalKind};
use parta_ids::UnitId;
use parta_roster::{MemberContext, Role};

/// Whether the caller may read requests at all. The list holds only those that [`decide`] allows.
pub(crate) fn list(caller: &MemberContext) -> Decision {
    let leads = caller.is_cleared() && !caller.class_teacher_of.is_empty();
    Decision::allow_if(
        caller.is_administration() || (caller.is_active() && leads),
        "Only the administration and leaders of units can read requests to join.",
    )
}

/// Whether the caller may decide about a request for this role and unit (R18): the administration, and the
/// leader of a home unit about pupils and parents. `home` are the home units among the units that the caller
/// leads otherwise than as a substitute.
pub(crate) fn decide(
    caller: &MemberContext,
    role: Role,
    unit: Option<UnitId>,
    home: &BTreeSet<UnitId>,
) -> Decision {
    let is_leader = caller.is_active()
        && caller.is_cleared()
        && matches!(role, Role::Pupil | Role::Parent)
        && unit.is_some_and(|unit| caller.is_class_teacher_of(unit) && home.contains(&unit));
    Decision::allow_if(
        caller.is_administration() || is_leader,
        "Only the leader of the unit and the administration can decide about this request.",
    )
}

/// Whether a sample of this kind may decide about a pupil of the sample unit.
fn decides_sample(kind: PrincipalKind) -> bool {
    let unit = MemberContext::sample_unit();
    let home = BTreeSet::from([unit]);
    MemberContext::sample(kind)
        .is_some_and(|facts| decide(&facts, Role::Pupil, Some(unit), &home).is_allowed())
}

/// The feature's rows of the permission matrix. An account reads its requests of all organizations, and
/// withdraws one of a given organization.
pub(crate) fn rules() -> Vec<PermissionRule> {
    let lists = |kind| MemberContext::sample(kind).is_some_and(|facts| list(&facts).is_allowed());
    let is_account = |kind| kind == PrincipalKind::Account;
    vec![
        PermissionRule::own("parta.membership.v1.JoinRequestService/ListJoinRequests", lists),
        PermissionRule::own(
            "parta.membership.v1.JoinRequestService/DecideJoinRequests",
            decides_sample,
        ),
        PermissionRule::everywhere(
            "parta.membership.v1.JoinRequestService/ListOwnJoinRequests",
            is_account,
        ),
        PermissionRule::own(
            "parta.membership.v1.JoinRequestService/WithdrawJoinRequest",
            is_account,
        ),
    ]
}
