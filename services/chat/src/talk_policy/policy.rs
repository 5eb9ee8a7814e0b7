use std::collections::BTreeSet;

use parta_ids::{MemberId, UnitId};
use parta_roster::{MemberContext, Role};

fn is_pupil(facts: &MemberContext) -> bool {
    facts.is_active() && facts.roles.contains(&Role::Pupil)
}

/// Whether the member is in the organization as a parent and does not work there.
fn is_only_parent(facts: &MemberContext) -> bool {
    facts.is_active() && facts.roles.contains(&Role::Parent) && !facts.is_staff() && !is_pupil(facts)
}

/// Whether the member has a child in some class, by a confirmed relation.
fn has_child(facts: &MemberContext) -> bool {
    facts
        .children
        .iter()
        .any(|child| facts.is_guardian_of(child.member_id))
}

/// A substitute opens no personal chats (reach.md 3), and an archived unit is no ground for one.
fn teaches_pupil_or_parent(teacher: &MemberContext, other: &MemberContext) -> bool {
    let meets = |unit: &&UnitId| other.is_pupil_in(**unit) || other.is_parent_in(**unit);
    teacher.is_cleared()
        && teacher
            .teaches
            .iter()
            .filter(meets)
            .any(|unit| teacher.is_living(*unit))
}

/// Whether both are pupils of one home unit in which pupils write to each other (reach.md 16).
fn are_classmates(one: &MemberContext, other: &MemberContext) -> bool {
    let shared = one.peer_units.intersection(&other.peer_units);
    is_pupil(one) && is_pupil(other) && shared.count() > 0
}

/// Whether one of the two is a confirmed guardian of the other.
fn are_relatives(one: &MemberContext, other: &MemberContext) -> bool {
    one.is_guardian_of(other.member_id) || other.is_guardian_of(one.member_id)
}

/// Whether two members may have a personal chat (R37): a guardian and the child, pupils of one class, a
/// teacher and a pupil or a parent of the class, two members of the staff. Symmetric. Each ground stands for
/// itself: a member of the staff who is not cleared reaches the own child, and no other pupil or parent.
pub(crate) fn may_talk(one: &MemberContext, other: &MemberContext) -> bool {
    if one.member_id == other.member_id || !one.is_active() || !other.is_active() {
        return false;
    }
    are_relatives(one, other)
        || teaches_pupil_or_parent(one, other)
        || teaches_pupil_or_parent(other, one)
        || are_classmates(one, other)
        || (one.is_staff() && other.is_staff() && may_share_chat(one, other))
}

/// Whether two members may be in one chat at all. Staff who are not cleared share no chat with a pupil but
/// the own child, and with parents only as a parent.
fn may_share_chat(one: &MemberContext, other: &MemberContext) -> bool {
    let meets = |a: &MemberContext, b: &MemberContext| {
        !a.is_staff()
            || a.is_cleared()
            || are_relatives(a, b)
            || !(is_pupil(b) || (is_only_parent(b) && !has_child(a)))
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

/// The members of a custom chat who may no longer participate: those who left the organization; staff who are
/// not cleared, if a pupil participates who is not their child or a parent beside whom they are not parents;
/// and parents who have no ground left to reach anybody there.
pub(crate) fn must_leave(people: &[MemberContext]) -> BTreeSet<MemberId> {
    let others = |f: &MemberContext| {
        let id = f.member_id;
        people
            .iter()
            .filter(move |other| other.member_id != id && other.is_active())
    };
    let is_parent_of_participant =
        |f: &MemberContext| others(f).any(|other| f.is_guardian_of(other.member_id));
    let meets_families = |f: &MemberContext| {
        !f.is_staff()
            || f.is_cleared()
            || is_parent_of_participant(f)
            || others(f).all(|other| !is_pupil(other) && (!is_only_parent(other) || has_child(f)))
    };
    // A parent whom the administration has named participates while a child connects him with the school.
    // A member without any role has no ground.
    let has_ground = |f: &MemberContext| {
        let reaches =
            |other: &MemberContext| may_talk(f, other) || (other.is_administration() && has_child(f));
        f.is_staff() || is_pupil(f) || (is_only_parent(f) && others(f).any(reaches))
    };
    people
        .iter()
        .filter(|f| !(f.is_active() && meets_families(f) && has_ground(f)))
        .map(|f| f.member_id)
        .collect()
}
