//! The permission to join a call (R55): its audience and its organizer at the time of the request.
use parta_access::{Decision, PermissionRule};
use parta_roster::MemberContext;

use crate::calls::{Call, may_join, sample_call};

pub(super) fn join(facts: &MemberContext, call: &Call, named: &[MemberContext]) -> Decision {
    Decision::allow_if(
        may_join(facts, call, named),
        "This call is for other members. Ask its organizer to add you.",
    )
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
