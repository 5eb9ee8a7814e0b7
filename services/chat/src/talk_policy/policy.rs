use std::collections::BTreeSet;

use parta_ids::{MemberId, UnitId};
use parta_roster::{DutyFunction, MemberContext, RelationLimit, Role};

fn is_pupil(facts: &MemberContext) -> bool {
    facts.holds(Role::Pupil)
}

/// Whether the member is in the organization as a parent and does not work there.
fn is_only_parent(facts: &MemberContext) -> bool {
    facts.holds(Role::Parent) && !facts.holds_staff_role() && !is_pupil(facts)
}

/// Whether the member has a child in some class, by a confirmed relation.
fn has_child(facts: &MemberContext) -> bool {
    facts
        .children
        .iter()
        .any(|child| facts.is_guardian_of(child.member_id))
}

/// A substitute opens no personal chats (F3), and an archived unit is no ground for one.
fn teaches_pupil_or_parent(teacher: &MemberContext, other: &MemberContext) -> bool {
    let meets = |unit: &&UnitId| other.is_pupil_in(**unit) || other.is_parent_in(**unit);
    teacher.is_cleared()
        && teacher
            .teaches
            .iter()
            .filter(meets)
            .any(|unit| teacher.is_living(*unit))
}

/// Whether both are pupils of one home unit in which pupils write to each other (F16).
fn are_classmates(one: &MemberContext, other: &MemberContext) -> bool {
    let shared = one.peer_units.intersection(&other.peer_units);
    is_pupil(one) && is_pupil(other) && shared.count() > 0
}

/// Whether one of the two is a confirmed guardian of the other.
fn are_relatives(one: &MemberContext, other: &MemberContext) -> bool {
    one.is_guardian_of(other.member_id) || other.is_guardian_of(one.member_id)
}

/// Whether two members may have a personal chat (R37): a guardian and the child, pupils of one class, a
/// teacher and a pupil or a parent of the class, the holder of a duty and people in its scope, two members of
/// the staff. Symmetric. Each ground stands for itself: a member of the staff who is not cleared reaches the
/// own child and, by a duty, the people in its scope, and no other pupil or parent. A limit between the two
/// wins over every ground (F13).
pub(crate) fn may_talk(one: &MemberContext, other: &MemberContext) -> bool {
    if one.member_id == other.member_id || !one.is_active() || !other.is_active() {
        return false;
    }
    if !one.may_contact(other) {
        return false;
    }
    are_relatives(one, other)
        || teaches_pupil_or_parent(one, other)
        || teaches_pupil_or_parent(other, one)
        || are_classmates(one, other)
        || one.may(DutyFunction::PersonalChats, other)
        || other.may(DutyFunction::PersonalChats, one)
        || (one.is_staff() && other.is_staff() && may_share_chat(one, other))
}

/// Whether two members may be in one chat at all. Staff who are not cleared share no chat with a pupil but
/// their own child, and with parents only as a parent.
fn may_share_chat(one: &MemberContext, other: &MemberContext) -> bool {
    let meets = |a: &MemberContext, b: &MemberContext| {
        !a.holds_staff_role()
            || a.is_cleared()
            || are_relatives(a, b)
            || a.may(DutyFunction::Rooms, b)
            || a.may(DutyFunction::PersonalChats, b)
            || !(is_pupil(b) || (is_only_parent(b) && !has_child(a)))
    };
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

/// Returns the members of a custom chat who may no longer participate:
///
/// - members who left the organization;
/// - members whom a limit keeps from a child in the chat;
/// - staff who are not cleared and are guardians of no participant, if a pupil or a parent participates who
///   is not in the scope of one of their duties; parents do not count for staff who have a child themselves;
/// - parents without a ground to reach any other participant, and members without a role.
///
/// Members with a suspended role stay, without the right to write, because the participation must exist when
/// the suspension is lifted.
pub(crate) fn must_leave(people: &[MemberContext]) -> BTreeSet<MemberId> {
    let is_present = |f: &MemberContext| f.is_active() || f.is_suspended();
    let others = |f: &MemberContext| {
        let id = f.member_id;
        people
            .iter()
            .filter(move |other| other.member_id != id && is_present(other))
    };
    let is_parent_of_participant =
        |f: &MemberContext| others(f).any(|other| f.is_guardian_of(other.member_id));
    let meets_families = |f: &MemberContext| {
        let meets = |other: &MemberContext| {
            let is_family = is_pupil(other) || (is_only_parent(other) && !has_child(f));
            !is_family || f.may(DutyFunction::Rooms, other)
        };
        !f.is_staff() || f.is_cleared() || is_parent_of_participant(f) || others(f).all(meets)
    };
    // A parent whom the administration has named participates while a child connects him with the school.
    // A member without any role has no ground.
    let has_ground = |f: &MemberContext| {
        let reaches =
            |other: &MemberContext| may_talk(f, other) || (other.is_administration() && has_child(f));
        f.is_staff() || is_pupil(f) || (is_only_parent(f) && others(f).any(reaches))
    };
    let may_stay = |f: &MemberContext| {
        is_present(f) && (!f.suspended.is_empty() || (meets_families(f) && has_ground(f)))
    };
    people
        .iter()
        .filter(|f| !may_stay(f) || is_kept_from_one_of(f, people))
        .map(|f| f.member_id)
        .collect()
}
