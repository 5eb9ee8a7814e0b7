use std::collections::BTreeSet;

use parta_ids::MemberId;
use parta_roster::{DutyFunction, MemberContext, Role};

fn is_pupil(facts: &MemberContext) -> bool {
    facts.holds(Role::Pupil)
}

fn teaches_pupil_or_parent(teacher: &MemberContext, other: &MemberContext) -> bool {
    teacher.may_meet_minors()
        && teacher
            .teaches
            .iter()
            .any(|unit| other.is_pupil_in(*unit) || other.is_parent_in(*unit))
}

fn are_classmates(one: &MemberContext, other: &MemberContext) -> bool {
    is_pupil(one) && is_pupil(other) && one.enrolled_in.intersection(&other.enrolled_in).next().is_some()
}

/// Whether two members may have a personal chat (R37): a guardian and the child, pupils of one class, a
/// teacher and a pupil or a parent of the class, the holder of a duty and people in its scope, two members of
/// the staff. Symmetric. An unverified teacher reaches no minor except an own child, and by a duty.
pub(crate) fn may_talk(one: &MemberContext, other: &MemberContext) -> bool {
    if one.member_id == other.member_id || !one.is_active() || !other.is_active() {
        return false;
    }
    one.is_guardian_of(other.member_id)
        || other.is_guardian_of(one.member_id)
        || teaches_pupil_or_parent(one, other)
        || teaches_pupil_or_parent(other, one)
        || are_classmates(one, other)
        || one.may(DutyFunction::PersonalChats, other)
        || other.may(DutyFunction::PersonalChats, one)
        || (one.is_staff() && other.is_staff() && may_share_chat(one, other))
}

/// Whether two members may be in one chat at all: staff who may not meet minors never share a chat with a
/// pupil.
fn may_share_chat(one: &MemberContext, other: &MemberContext) -> bool {
    let meets = |a: &MemberContext, b: &MemberContext| {
        !is_pupil(b)
            || !a.holds_staff_role()
            || a.may_meet_minors()
            || a.may(DutyFunction::Rooms, b)
            || a.may(DutyFunction::PersonalChats, b)
    };
    meets(one, other) && meets(other, one)
}

/// Whether staff may name this member as a participant of a chat (R34, R35): the administration everybody,
/// other staff only members with whom they may talk.
pub(crate) fn may_name(staff: &MemberContext, other: &MemberContext) -> bool {
    staff.is_staff()
        && other.is_active()
        && may_share_chat(staff, other)
        && (staff.is_administration() || staff.member_id == other.member_id || may_talk(staff, other))
}

/// The members of a custom chat who may no longer participate: those who left the organization and, if a
/// pupil participates, staff who may not meet minors. Members with a suspended role stay, without a voice,
/// because their participation has to be there when the suspension is lifted.
pub(crate) fn must_leave(people: &[MemberContext]) -> BTreeSet<MemberId> {
    let is_present = |f: &MemberContext| f.is_active() || f.is_suspended();
    let pupils: Vec<_> = people.iter().filter(|f| is_present(f) && is_pupil(f)).collect();
    let may_stay = |f: &MemberContext| {
        let by_duty = || pupils.iter().all(|pupil| f.may(DutyFunction::Rooms, pupil));
        let meets = !f.is_staff() || f.may_meet_minors() || !f.suspended.is_empty();
        is_present(f) && (pupils.is_empty() || meets || by_duty())
    };
    people
        .iter()
        .filter(|f| !may_stay(f))
        .map(|f| f.member_id)
        .collect()
}
