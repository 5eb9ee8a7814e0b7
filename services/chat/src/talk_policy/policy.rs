use std::collections::BTreeSet;

use parta_ids::{MemberId, TypedId};
use parta_roster::{MemberContext, Role};

/// Most people that one call may name.
pub const MAX_NAMED: usize = 100;
/// Most people in a chat that names people.
pub const MAX_PARTICIPANTS: usize = 500;

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

/// Whether two members may have a personal chat (R37): a guardian and the child, pupils of one class, a teacher and a
/// pupil or parent of the class, staff and staff. Symmetric. An unverified teacher reaches no minor but an own child.
pub fn may_talk(one: &MemberContext, other: &MemberContext) -> bool {
    if one.member_id == other.member_id || !one.is_active() || !other.is_active() {
        return false;
    }
    one.is_guardian_of(other.member_id)
        || other.is_guardian_of(one.member_id)
        || teaches_pupil_or_parent(one, other)
        || teaches_pupil_or_parent(other, one)
        || are_classmates(one, other)
        || (one.is_staff() && other.is_staff() && may_share_room(one, other))
}

/// Whether nothing forbids that two people are in one room.
fn may_share_room(one: &MemberContext, other: &MemberContext) -> bool {
    let meets = |a: &MemberContext, b: &MemberContext| !is_pupil(b) || !a.is_staff() || a.may_meet_minors();
    meets(one, other) && meets(other, one)
}

/// Whether staff may name this member in a chat (R34, R35): whom it may talk with; the administration everybody.
pub fn may_name(staff: &MemberContext, other: &MemberContext) -> bool {
    staff.is_staff()
        && other.is_active()
        && may_share_room(staff, other)
        && (staff.is_administration() || staff.member_id == other.member_id || may_talk(staff, other))
}

/// Who of the people of a chat that names people may not be in it any more: who left the organization, and where
/// there is a pupil, staff who may not meet minors.
pub fn must_leave(people: &[MemberContext]) -> BTreeSet<MemberId> {
    let pupils = people.iter().any(|f| f.is_active() && is_pupil(f));
    let may_stay = |f: &MemberContext| f.is_active() && !(pupils && f.is_staff() && !f.may_meet_minors());
    people
        .iter()
        .filter(|f| !may_stay(f))
        .map(|f| f.member_id)
        .collect()
}

/// By what the personal chat of two is unique in its organization, whoever asks.
pub fn pair_key(one: MemberId, other: MemberId) -> String {
    let (low, high) = (one.min(other), one.max(other));
    format!("direct:{}:{}", low.uuid(), high.uuid())
}
