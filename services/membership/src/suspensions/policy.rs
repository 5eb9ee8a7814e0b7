//! Rules for suspending members: pure functions over facts of the roster.
use parta_access::{Decision, PermissionRule, PrincipalKind};
use parta_ids::MemberId;
use parta_roster::{DutyKind, MemberContext};

/// Whether the caller may suspend members and list suspensions.
pub(crate) fn suspend(caller: &MemberContext) -> Decision {
    Decision::allow_if(
        caller.is_administration() || caller.has_duty(DutyKind::Safeguarding),
        "Only the administration and members with a safeguarding duty can suspend members.",
    )
}

/// Whether the caller may confirm and lift suspensions. [`is_second_person`] decides about a given one.
pub(crate) fn decide(caller: &MemberContext) -> Decision {
    crate::member_records::manage(caller)
}

/// The operator may decide: in a school without a second person nobody else can.
pub(super) fn decide_as_operator() -> Decision {
    Decision::Allow
}

/// Whether the member is neither the suspended one nor the one who suspended.
pub(super) fn is_second_person(caller: MemberId, suspended: MemberId, suspender: Option<MemberId>) -> bool {
    caller != suspended && Some(caller) != suspender
}

/// Whether a sample of this kind may confirm and lift the suspension of another member.
fn decides_sample(kind: PrincipalKind) -> bool {
    kind == PrincipalKind::Operator
        || MemberContext::sample(kind).is_some_and(|facts| decide(&facts).is_allowed())
}

/// The feature's rows of the permission matrix.
pub(crate) fn rules() -> Vec<PermissionRule> {
    let suspends = |kind| MemberContext::sample(kind).is_some_and(|facts| suspend(&facts).is_allowed());
    vec![
        PermissionRule::own("parta.membership.v1.SuspensionService/SuspendMember", suspends),
        PermissionRule::own(
            "parta.membership.v1.SuspensionService/ConfirmSuspension",
            decides_sample,
        ),
        PermissionRule::own(
            "parta.membership.v1.SuspensionService/ReinstateMember",
            decides_sample,
        ),
        PermissionRule::own("parta.membership.v1.SuspensionService/ListSuspensions", suspends),
        PermissionRule::own(
            "parta.membership.v1.SuspensionService/ListOverdueSuspensions",
            |kind| kind == PrincipalKind::Operator,
        ),
    ]
}
