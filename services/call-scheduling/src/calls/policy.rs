//! Who may organize, see and join which call (R50, R55): pure functions over facts of the roster.
use parta_access::Decision;
use parta_ids::UnitId;
use parta_roster::{MemberContext, Role};

use crate::calls::model::{
    Call,
    kind::{Kind, Organizers},
};

/// Whether the caller may plan a call of this kind for this unit.
pub fn organize(facts: &MemberContext, kind: Kind, unit: UnitId) -> Decision {
    Decision::allow_if(
        may_organize(facts, kind, unit),
        "this role may not organize such a call there",
    )
}

fn may_organize(facts: &MemberContext, kind: Kind, unit: UnitId) -> bool {
    // A call for families is run by those who may meet minors; an unverified teacher meets colleagues only.
    if !facts.is_active() || !facts.is_staff() || (kind.is_for_families() && !facts.may_meet_minors()) {
        return false;
    }
    let administration = facts.is_administration();
    match kind.rule().organizers {
        Organizers::UnitTeachers => facts.teaches_in(unit),
        Organizers::UnitTeachersAndAdministration => facts.teaches_in(unit) || administration,
        Organizers::ClassTeacher => facts.is_class_teacher_of(unit),
        Organizers::ClassTeacherAndAdministration => facts.is_class_teacher_of(unit) || administration,
        Organizers::Administration => administration,
        Organizers::Staff => true,
        Organizers::Teachers => facts.roles.contains(&Role::Teacher),
    }
}

/// Whether a member belongs to the audience of such a call in that unit, named participants aside.
///
/// The administration that may meet minors may visit what is held for families.
pub fn is_concerned(facts: &MemberContext, kind: Kind, unit: UnitId, of_class: bool) -> bool {
    if !facts.is_active() {
        return false;
    }
    let audience = kind.rule().audience;
    let family = of_class
        && ((audience.pupils && facts.is_pupil_in(unit)) || (audience.parents && facts.is_parent_in(unit)));
    let near = !of_class || facts.teaches_in(unit) || facts.is_administration();
    let staff = facts.is_staff() && near && (!kind.is_for_families() || facts.may_meet_minors());
    family || staff
}

/// Whether the caller may enter the call's room.
pub fn may_join(facts: &MemberContext, call: &Call) -> bool {
    let (kind, unit) = (call.draft.kind, call.draft.unit_id);
    if call.organizer_id == facts.member_id && may_organize(facts, kind, unit) {
        return true;
    }
    let named = call.draft.participants.is_empty() || call.draft.participants.contains(&facts.member_id);
    named && is_concerned(facts, kind, unit, call.of_class)
}

/// Whether the caller may enter the call's room.
pub fn join(facts: &MemberContext, call: &Call) -> Decision {
    Decision::allow_if(may_join(facts, call), "the call is not for this person")
}

/// Whether the call concerns the caller: who may join, the organizer, the administration, parents of its pupils.
pub fn may_see(facts: &MemberContext, call: &Call) -> bool {
    if !facts.is_active() {
        return false;
    }
    let organizes = facts.is_staff() && (call.organizer_id == facts.member_id || facts.is_administration());
    organizes || may_join(facts, call) || concerns_child(facts, call)
}

fn concerns_child(facts: &MemberContext, call: &Call) -> bool {
    let named = &call.draft.participants;
    let of_child = |child: &parta_roster::Child| {
        child.units.contains(&call.draft.unit_id) && (named.is_empty() || named.contains(&child.member_id))
    };
    call.draft.kind.rule().audience.pupils && facts.children.iter().any(of_child)
}

/// Whether the caller may see the call.
pub fn see(facts: &MemberContext, call: &Call) -> Decision {
    Decision::allow_if(may_see(facts, call), "the call does not concern this person")
}

/// Whether the caller may list what concerns him.
pub fn list(facts: &MemberContext) -> Decision {
    Decision::allow_if(facts.is_active(), "only active members have calls")
}

/// Whether the caller may cancel and announce the call: its organizer while of the staff, and the administration.
pub fn manage(facts: &MemberContext, call: &Call) -> Decision {
    let organizes =
        call.organizer_id == facts.member_id && may_organize(facts, call.draft.kind, call.draft.unit_id);
    let allowed = facts.is_active() && (organizes || facts.is_administration());
    Decision::allow_if(allowed, "only the organizer and the administration may do this")
}
