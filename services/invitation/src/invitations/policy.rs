//! Who may invite whom (R14) and manage which link (R15): pure functions over facts of the roster.
use parta_access::Decision;
use parta_ids::UnitId;
use parta_roster::MemberContext;

use super::model::{Invitation, InviteRole};

/// Whether the caller may make a link of this role to this unit.
///
/// The administration invites everybody. A class teacher invites pupils and parents of the own class, another teacher of
/// it pupils, and parents only under the policy `parent_inviters`; both only when they may meet minors.
pub fn create(facts: &MemberContext, role: InviteRole, unit: Option<UnitId>) -> Decision {
    Decision::allow_if(
        may_invite(facts, role, unit),
        "this role may not invite such people there",
    )
}

fn may_invite(facts: &MemberContext, role: InviteRole, unit: Option<UnitId>) -> bool {
    if !facts.is_active() {
        return false;
    }
    if facts.is_administration() {
        return true;
    }
    let Some(unit) = unit.filter(|_| facts.may_meet_minors() && !role.is_staff()) else {
        return false;
    };
    facts.is_class_teacher_of(unit)
        || (facts.teaches_in(unit)
            && (role == InviteRole::Pupil || facts.policies.parent_inviters_class_staff))
}

/// Whether the caller may see a link's data: its issuer, the administration, and who could have made it.
pub fn read(facts: &MemberContext, invitation: &Invitation) -> Decision {
    let allowed =
        manages(facts, invitation) || may_invite(facts, invitation.draft.role, invitation.draft.unit_id);
    Decision::allow_if(
        allowed,
        "only the issuer, the administration and teachers who invite there may see it",
    )
}

/// Whether the caller may hand out, follow and annul a link: its issuer while still allowed to make it, and the administration.
pub fn manage(facts: &MemberContext, invitation: &Invitation) -> Decision {
    Decision::allow_if(
        manages(facts, invitation),
        "only the issuer and the administration may do this",
    )
}

fn manages(facts: &MemberContext, invitation: &Invitation) -> bool {
    facts.is_active()
        && (facts.is_administration()
            || (invitation.issuer_id == Some(facts.member_id)
                && may_invite(facts, invitation.draft.role, invitation.draft.unit_id)))
}

/// Whether the caller may list links; who is not of the administration sees the own ones.
pub fn list(facts: &MemberContext) -> Decision {
    Decision::allow_if(
        facts.is_active() && facts.is_staff(),
        "only staff lists invitations",
    )
}

/// Whether the caller may annul links by filter.
pub fn annul(facts: &MemberContext) -> Decision {
    Decision::allow_if(
        facts.is_active() && facts.is_administration(),
        "only the administration annuls by filter",
    )
}
