//! The permission to join a call (R55): its audience and its organizer at the time of the request.
use parta_access::{Decision, PermissionRule};
use parta_roster::MemberContext;

use crate::calls::{Call, may_attend_as_staff, may_join, sample_call};

pub(super) fn join(facts: &MemberContext, call: &Call, named: &[MemberContext]) -> Decision {
    Decision::allow_if(
        may_join(facts, call, named),
        "This call is for other members. Ask its organizer to add you.",
    )
}

/// Whether a member has the powers of the organizer in the room.
pub(super) fn is_host(facts: &MemberContext, call: &Call, named: &[MemberContext]) -> bool {
    call.organizer_id == facts.member_id && may_attend_as_staff(facts, &call.draft, named)
}

/// The feature's rows of the permission matrix.
pub(crate) fn rules() -> Vec<PermissionRule> {
    vec![PermissionRule::own(
        "parta.call_scheduling.v1.CallService/IssueJoinToken",
        |kind| {
            MemberContext::sample(kind)
                .is_some_and(|facts| join(&facts, &sample_call(&facts), &[]).is_allowed())
        },
    )]
}
