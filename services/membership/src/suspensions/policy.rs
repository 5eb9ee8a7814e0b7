//! Rules for suspending members: pure functions over facts of the roster.
use parta_access::Decision;
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
pub(super) fn is_second_person(caller: MemberId, suspended: MemberId, suspender: MemberId) -> bool {
    caller != suspended && caller != suspender
}
