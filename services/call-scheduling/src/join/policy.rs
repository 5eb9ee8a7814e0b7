//! The permission to join a call (R55), and to stay in it (F18): its audience and its organizer at the time.
use parta_access::{Decision, PermissionRule};
use parta_roster::{MemberContext, Role};

use crate::{
    calls::{Call, attends_as_staff, hosts, may_join, sample_call},
    rooms::{Label, Standing},
};

pub(super) fn join(facts: &MemberContext, call: &Call, named: &[MemberContext]) -> Decision {
    Decision::allow_if(
        may_join(facts, call, named),
        "This call is for other members. Ask its organizer to add you.",
    )
}

/// The standing of a member who may join. The label is the role by which the person is in the call: a member
/// of the staff may be there as a parent.
pub(super) fn standing(facts: &MemberContext, call: &Call, named: &[MemberContext]) -> Standing {
    let has = |role: Role| facts.roles.contains(&role);
    let label = if attends_as_staff(facts, call, named) {
        match has(Role::Teacher) {
            true => Label::Teacher,
            false => Label::Staff,
        }
    } else if has(Role::Pupil) {
        Label::Pupil
    } else {
        Label::Parent
    };
    Standing {
        host: hosts(facts, call, named),
        label,
    }
}

/// Whether a person who was admitted with this standing may still be in the room with it. A person who may be
/// there with less has to enter again, with another token.
pub(super) fn may_stay(
    standing: Standing,
    facts: &MemberContext,
    call: &Call,
    named: &[MemberContext],
) -> bool {
    let keeps_label = match standing.label {
        Label::Teacher => attends_as_staff(facts, call, named) && facts.roles.contains(&Role::Teacher),
        Label::Staff => attends_as_staff(facts, call, named),
        Label::Pupil => facts.roles.contains(&Role::Pupil),
        Label::Parent => true,
    };
    let keeps_powers = !standing.host || hosts(facts, call, named);
    keeps_label && keeps_powers && may_join(facts, call, named)
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
