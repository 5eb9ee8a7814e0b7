//! The reach of members, over all sets of roles (F2, F3, F4, F16).
use std::collections::BTreeSet;

use parta_ids::{MemberId, OrgId, UnitId};
use parta_roster::{Child, MemberContext, Role, State};
use uuid::Uuid;

use super::{may_name, may_talk, must_leave};

fn id<T: parta_ids::TypedId>(n: u128) -> T {
    T::from_uuid(Uuid::from_u128(n))
}

fn class() -> UnitId {
    id(10)
}

fn member(n: u128, roles: impl IntoIterator<Item = Role>) -> MemberContext {
    MemberContext::new(id::<OrgId>(1), id::<MemberId>(n), State::Active, roles)
}

fn pupil(n: u128) -> MemberContext {
    let mut pupil = member(n, [Role::Pupil]);
    pupil.enrolled_in.insert(class());
    pupil.peer_units.insert(class());
    pupil
}

fn parent_of(n: u128, child: &MemberContext) -> MemberContext {
    let mut parent = member(n, [Role::Parent]);
    let child = Child::new(child.member_id, BTreeSet::from([class()]));
    parent.children.push(child);
    parent
}

/// Every set of roles that one person may hold: a pupil has no role of the staff (F7).
fn role_sets() -> impl Iterator<Item = BTreeSet<Role>> {
    let is_allowed = |roles: &BTreeSet<Role>| {
        let is_staff = roles.iter().any(|role| role.is_staff());
        !(is_staff && roles.contains(&Role::Pupil))
    };
    let sets = (0..1_u32 << Role::ALL.len()).map(|mask| {
        let chosen = |(n, role): (usize, &Role)| (mask >> n & 1 == 1).then_some(*role);
        Role::ALL.iter().enumerate().filter_map(chosen).collect()
    });
    sets.filter(move |roles: &BTreeSet<Role>| is_allowed(roles))
}

/// A person with every fact that a role can carry, who holds these roles.
fn person(roles: BTreeSet<Role>, child: &MemberContext, verified: bool) -> MemberContext {
    let mut person = member(5, roles);
    person.teacher_verified = verified;
    person.assign(class(), true, false);
    person.enrolled_in.insert(class());
    person.peer_units.insert(class());
    person.children = parent_of(5, child).children;
    person
}

// A member who loses a role or the badge reaches nobody new: neither in a personal chat, nor by naming,
// nor by staying in a chat with others.
// Covers: F2 allowed, F2 refused, F3 refused
#[test]
fn loss_of_a_role_or_badge_gives_no_reach() {
    let (own_child, other_child) = (pupil(2), pupil(3));
    let others = [
        own_child.clone(),
        other_child.clone(),
        parent_of(4, &other_child),
        member(6, [Role::Teacher]),
        member(7, [Role::Staff]),
    ];
    for roles in role_sets() {
        let before = person(roles.clone(), &own_child, true);
        let without_role = roles.iter().map(|role| {
            let mut fewer = roles.clone();
            fewer.remove(role);
            let verified = fewer.contains(&Role::Teacher);
            person(fewer, &own_child, verified)
        });
        let without_badge = [person(roles.clone(), &own_child, false)];
        for after in without_role.chain(without_badge) {
            for other in &others {
                let lost = format!("{roles:?} -> {:?}, {other:?}", after.roles);
                assert!(may_talk(&before, other) || !may_talk(&after, other), "{lost}");
                assert!(may_talk(other, &before) || !may_talk(other, &after), "{lost}");
                assert!(may_name(&before, other) || !may_name(&after, other), "{lost}");
                let stays = |person: &MemberContext| must_leave(&[person.clone(), other.clone()]).is_empty();
                assert!(stays(&before) || !stays(&after), "{lost}");
            }
        }
    }
}

// A member of the staff who is not cleared reaches their own child and no other pupil or parent,
// whatever else he is; a father who becomes a teacher keeps the chat with his own child.
// Covers: F3 refused, F4 allowed, F4 refused, R37 refused
#[test]
fn staff_without_clearance_reach_the_own_child_only() {
    let (own_child, other_child) = (pupil(2), pupil(3));
    let other_parent = parent_of(4, &other_child);
    for role in [
        Role::Teacher,
        Role::Staff,
        Role::Administrator,
        Role::Head,
        Role::Deputy,
    ] {
        let staff = person(BTreeSet::from([role, Role::Parent]), &own_child, false);
        assert!(may_talk(&staff, &own_child), "{role:?}");
        assert!(
            !may_talk(&staff, &other_child) && !may_name(&staff, &other_child),
            "{role:?}"
        );
        assert!(!may_talk(&staff, &other_parent), "{role:?}");
        let only_staff = person(BTreeSet::from([role]), &own_child, false);
        assert!(!may_talk(&only_staff, &own_child), "{role:?}");
        assert!(!may_name(&only_staff, &other_parent), "{role:?}");
        let together = [only_staff.clone(), other_child.clone()];
        assert!(must_leave(&together).contains(&only_staff.member_id), "{role:?}");
    }
}

// A substitute opens no personal chats, pupils below grade 5 and pupils of one group open none with each
// other, and an archived class is a ground for none.
// Covers: F3 refused, F16 allowed, F16 refused
#[test]
fn personal_chat_needs_a_lasting_relation() {
    let (one, other) = (pupil(2), pupil(3));
    assert!(may_talk(&one, &other));
    let mut of_a_group = other.clone();
    of_a_group.peer_units.clear();
    assert!(!may_talk(&one, &of_a_group));

    let mut teacher = member(5, [Role::Teacher]);
    teacher.teacher_verified = true;
    teacher.assign(class(), true, true);
    assert!(!may_talk(&teacher, &one));
    teacher.assign(class(), true, false);
    assert!(may_talk(&teacher, &one));
    teacher.archived_units.insert(class());
    assert!(!may_talk(&teacher, &one));
}

// A guardian whose relation has ended leaves the chats that rested on it (a chat of two children keeps the
// parent of the other one).
// Covers: F14 refused
#[test]
fn former_guardian_leaves_the_named_chat() {
    let (child, other_child) = (pupil(2), pupil(3));
    let mut teacher = member(5, [Role::Teacher]);
    teacher.teacher_verified = true;
    teacher.assign(class(), true, false);
    let (parent, other_parent) = (parent_of(6, &child), parent_of(7, &other_child));
    let mut people = vec![teacher, child, other_child, parent, other_parent];
    assert!(must_leave(&people).is_empty());
    people[3].children.clear();
    assert_eq!(must_leave(&people), BTreeSet::from([people[3].member_id]));
}
