use std::collections::BTreeSet;

use parta_ids::MemberId;
use parta_roster::{MemberContext, RelationLimit, Role};

fn is_pupil(facts: &MemberContext) -> bool {
    facts.roles.contains(&Role::Pupil)
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
/// teacher and a pupil or a parent of the class, two members of the staff. Symmetric. An unverified teacher
/// reaches no minor except an own child. A limit between the two wins over every ground (reach.md 13).
pub(crate) fn may_talk(one: &MemberContext, other: &MemberContext) -> bool {
    if one.member_id == other.member_id || !one.is_active() || !other.is_active() {
        return false;
    }
    if !one.may_contact(other) {
        return false;
    }
    one.is_guardian_of(other.member_id)
        || other.is_guardian_of(one.member_id)
        || teaches_pupil_or_parent(one, other)
        || teaches_pupil_or_parent(other, one)
        || are_classmates(one, other)
        || (one.is_staff() && other.is_staff() && may_share_chat(one, other))
}

/// Whether two members may be in one chat at all: staff who may not meet minors never share a chat with a
/// pupil.
fn may_share_chat(one: &MemberContext, other: &MemberContext) -> bool {
    let meets = |a: &MemberContext, b: &MemberContext| !is_pupil(b) || !a.is_staff() || a.may_meet_minors();
    meets(one, other) && meets(other, one) && one.may_contact(other)
}

/// Whether staff may name this member as a participant of a chat (R34, R35): the administration everybody,
/// other staff only members with whom they may talk.
pub(crate) fn may_name(staff: &MemberContext, other: &MemberContext) -> bool {
    staff.is_staff()
        && other.is_active()
        && may_share_chat(staff, other)
        && (staff.is_administration() || staff.member_id == other.member_id || may_talk(staff, other))
}

/// Whether a limit keeps the member from one of these children.
fn is_kept_from_one_of(facts: &MemberContext, people: &[MemberContext]) -> bool {
    let forbids = |other: &MemberContext| {
        facts
            .limits_toward(other.member_id)
            .forbids(RelationLimit::NoContact)
    };
    people.iter().any(|other| other.is_active() && forbids(other))
}

/// The members of a custom chat who may no longer participate: those who left the organization, those whom a
/// limit keeps from a child there and, if a pupil participates, staff who may not meet minors.
pub(crate) fn must_leave(people: &[MemberContext]) -> BTreeSet<MemberId> {
    let pupils = people.iter().any(|f| f.is_active() && is_pupil(f));
    let may_stay = |f: &MemberContext| f.is_active() && !(pupils && f.is_staff() && !f.may_meet_minors());
    people
        .iter()
        .filter(|f| !may_stay(f) || is_kept_from_one_of(f, people))
        .map(|f| f.member_id)
        .collect()
}
