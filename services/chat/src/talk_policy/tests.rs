//! The reach of members, over all sets of roles (F2, F3, F4, F16).
use std::collections::BTreeSet;

use parta_ids::{MemberId, OrgId, UnitId};
use parta_roster::{
    Child, Duty, DutyKind, DutyScope, LimitedChild, MemberContext, RelationLimit, RelationLimits, Role, State,
};
use uuid::Uuid;

use super::{Standing, may_name, may_talk, must_leave, named_chat};

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

const NOBODY: [u128; 0] = [];

/// A cleared teacher without a task.
fn cleared(n: u128) -> MemberContext {
    let mut teacher = member(n, [Role::Teacher]);
    teacher.teacher_verified = true;
    teacher
}

/// A cleared teacher of the class.
fn teacher(n: u128) -> MemberContext {
    let mut teacher = cleared(n);
    teacher.assign(class(), true, false);
    teacher
}

fn substitute(n: u128) -> MemberContext {
    let mut teacher = cleared(n);
    teacher.assign(class(), true, true);
    teacher
}

fn holder(n: u128, kind: DutyKind, scope: DutyScope) -> MemberContext {
    let mut holder = member(n, [Role::Staff]);
    holder.duties.push(Duty {
        kind,
        scope,
        begin_time: None,
    });
    holder
}

fn suspended(facts: &MemberContext, roles: impl IntoIterator<Item = Role>) -> MemberContext {
    let mut facts = facts.clone();
    facts.suspend(&roles.into_iter().collect());
    facts
}

fn limited(mut adult: MemberContext, child: &MemberContext, limit: RelationLimit) -> MemberContext {
    adult.limited.push(LimitedChild {
        member_id: child.member_id,
        units: child.enrolled_in.clone(),
        limits: RelationLimits::from_iter([limit]),
    });
    adult
}

/// The numbers of those who must leave.
fn leaving(people: &[&MemberContext]) -> Vec<u128> {
    let people: Vec<_> = people.iter().map(|facts| (*facts).clone()).collect();
    let leaving = must_leave(&people).into_iter();
    leaving
        .map(|member| parta_ids::TypedId::uuid(member).as_u128())
        .collect()
}

/// The numbers of the responsible adults.
fn responsible(people: &[&MemberContext]) -> Vec<u128> {
    let people: Vec<_> = people.iter().map(|facts| (*facts).clone()).collect();
    let all = named_chat(&people).standings.into_iter();
    let responsible = all.filter(|(_, standing)| *standing == Standing::Responsible);
    responsible
        .map(|(member, _)| parta_ids::TypedId::uuid(member).as_u128())
        .collect()
}

/// The numbers of those who may be responsible for the chat, each with that of the unit that is the ground.
fn leading(people: &[&MemberContext]) -> Vec<(u128, Option<u128>)> {
    let number = |id: Uuid| id.as_u128();
    let people: Vec<_> = people.iter().map(|facts| (*facts).clone()).collect();
    let leading = named_chat(&people).may_lead.into_iter();
    leading
        .map(|(member, unit)| {
            let unit = unit.map(|unit| number(parta_ids::TypedId::uuid(unit)));
            (number(parta_ids::TypedId::uuid(member)), unit)
        })
        .collect()
}

// A substitute, a parent and a member who is suspended are responsible for no chat; among the staff anybody
// is.
// Covers: F3 refused, F14 allowed, F14 refused, F15 refused
#[test]
fn responsible_member_has_a_lasting_ground_toward_all() {
    let (child, other) = (pupil(2), pupil(3));
    let (leader, stand_in) = (teacher(5), substitute(6));
    let in_class = |n| (n, Some(10));
    assert_eq!(leading(&[&leader, &stand_in, &child, &other]), [in_class(5)]);
    assert_eq!(leading(&[&stand_in, &child, &other]), []);
    assert_eq!(leading(&[&suspended(&leader, [Role::Teacher]), &child]), []);
    let parent = parent_of(7, &child);
    assert_eq!(leading(&[&leader, &parent, &child, &other]), [in_class(5)]);
    assert_eq!(leading(&[&leader, &parent]), [in_class(5)]);
    // A duty is a ground too, and no unit then.
    let psychologist = holder(8, DutyKind::Psychologist, DutyScope::Unit(class()));
    assert_eq!(leading(&[&psychologist, &child, &other]), [(8, None)]);
    let tutor = holder(8, DutyKind::Tutor, DutyScope::Pupils([child.member_id].into()));
    assert_eq!(leading(&[&leader, &tutor, &child]), [in_class(5), (8, None)]);
    let colleagues = [cleared(9), member(4, [Role::Staff])];
    assert_eq!(leading(&[&colleagues[0], &colleagues[1]]), [(4, None), (9, None)]);
}

// Case 51 and its kind: the badge alone is no ground to be with a pupil.
// Covers: F14 allowed, F14 refused, F15 refused
#[test]
fn adult_needs_a_ground_toward_every_pupil() {
    let (child, moved) = (pupil(2), {
        let mut moved = pupil(3);
        moved.enrolled_in = BTreeSet::from([id(11)]);
        moved
    });
    let (leader, badge) = (teacher(5), cleared(6));
    assert_eq!(leaving(&[&leader, &child]), NOBODY);
    assert_eq!(leaving(&[&leader, &badge]), NOBODY);
    assert_eq!(leaving(&[&leader, &badge, &child]), [6]);
    assert_eq!(leaving(&[&badge, &child]), [6]);
    for role in [Role::Administrator, Role::Head, Role::Deputy, Role::Staff] {
        let mut both = cleared(7);
        both.roles.insert(role);
        assert_eq!(leaving(&[&leader, &both, &child]), [7], "{role:?}");
    }
    // A pupil of another class leaves, because the chat rests on the class.
    assert_eq!(leaving(&[&leader, &child, &moved]), [3]);
    let mut of_both = teacher(8);
    of_both.assign(id(11), false, false);
    assert_eq!(leaving(&[&leader, &of_both, &child, &moved]), [5]);
    assert_eq!(responsible(&[&of_both, &child, &moved]), [8]);
    let mut of_the_other = cleared(9);
    of_the_other.assign(id(11), false, false);
    assert_eq!(leaving(&[&leader, &of_the_other, &child, &moved]), [5, 9]);

    // A duty counts in its scope, and only with the function to be in rooms.
    for (kind, scope, leaves) in [
        (DutyKind::Psychologist, DutyScope::Organization, false),
        (DutyKind::SocialPedagogue, DutyScope::Unit(class()), false),
        (DutyKind::SocialPedagogue, DutyScope::Unit(id(11)), true),
        (
            DutyKind::Tutor,
            DutyScope::Pupils([child.member_id].into()),
            false,
        ),
        (DutyKind::Tutor, DutyScope::Pupils([moved.member_id].into()), true),
        (DutyKind::Nurse, DutyScope::Organization, true),
    ] {
        let holder = holder(6, kind, scope);
        let expected: &[u128] = if leaves { &[6] } else { &[] };
        assert_eq!(leaving(&[&leader, &holder, &child]), expected, "{kind:?}");
        let expected: &[u128] = if leaves { &[5] } else { &[5, 6] };
        assert_eq!(responsible(&[&leader, &holder, &child]), expected, "{kind:?}");
    }
    let mut archived = teacher(5);
    archived.archived_units.insert(class());
    assert_eq!(leaving(&[&archived, &child]), [5]);
}

// A teacher of another class who is there as a parent, and a parent, make no chat supervised.
// Covers: F4 allowed, F4 refused, F12 refused, F14 refused, F15 refused
#[test]
fn parent_is_with_other_pupils_under_an_adult_only() {
    let (child, other) = (pupil(2), pupil(3));
    let leader = teacher(5);
    let parent = parent_of(6, &child);
    let mut colleague = parent_of(7, &child);
    colleague.roles.insert(Role::Teacher);
    colleague.teacher_verified = true;
    assert_eq!(leaving(&[&leader, &parent, &child, &other]), NOBODY);
    assert_eq!(leaving(&[&leader, &colleague, &child, &other]), NOBODY);
    assert_eq!(responsible(&[&leader, &colleague, &child, &other]), [5]);
    assert_eq!(leaving(&[&parent, &child, &other]), [6]);
    assert_eq!(leaving(&[&colleague, &child, &other]), [7]);
    assert_eq!(leaving(&[&parent, &child]), NOBODY);
    assert_eq!(responsible(&[&colleague, &child]), NOBODY);
    // A parent whose child is not there is not beside other pupils.
    assert_eq!(leaving(&[&leader, &parent, &other]), [6]);
    let absent = suspended(&leader, [Role::Teacher]);
    assert_eq!(leaving(&[&absent, &parent, &child, &other]), [6]);

    // Parents are together under a teacher of a child of each, and staff meet them by a task or a duty.
    let stranger = {
        let mut moved = pupil(4);
        moved.enrolled_in = BTreeSet::from([id(11)]);
        let mut stranger = parent_of(8, &moved);
        stranger.children = vec![Child::new(moved.member_id, moved.enrolled_in.clone())];
        stranger
    };
    let neighbor = parent_of(9, &other);
    assert_eq!(leaving(&[&leader, &parent, &neighbor]), NOBODY);
    assert_eq!(leaving(&[&parent, &neighbor]), [6, 9]);
    assert_eq!(leaving(&[&leader, &parent, &stranger]), [8]);
    assert_eq!(leaving(&[&leader, &cleared(10), &parent, &neighbor]), [10]);
    let psychologist = holder(10, DutyKind::Psychologist, DutyScope::Organization);
    assert_eq!(leaving(&[&leader, &psychologist, &parent, &neighbor]), NOBODY);
}

// Covers: F3 refused, F14 refused, F16 refused
#[test]
fn named_chat_of_two_is_as_a_personal_chat() {
    let child = pupil(2);
    let (leader, other) = (teacher(5), pupil(3));
    let stand_in = substitute(6);
    assert_eq!(leaving(&[&stand_in, &child]), [6]);
    assert_eq!(leaving(&[&stand_in, &child, &other]), NOBODY);
    assert_eq!(responsible(&[&stand_in, &child, &other]), [6]);
    assert_eq!(leaving(&[&stand_in, &leader, &child]), NOBODY);
    // A suspended teacher is not there for anybody.
    let absent = suspended(&leader, [Role::Teacher]);
    assert_eq!(leaving(&[&stand_in, &absent, &child]), [6]);
    let tutor = holder(6, DutyKind::Tutor, DutyScope::Pupils([child.member_id].into()));
    assert_eq!(leaving(&[&tutor, &child]), [6]);
    assert_eq!(leaving(&[&tutor, &leader, &child]), NOBODY);
    // An administrator without clearance who has a child in the school, and the parent of another one.
    let mut head = parent_of(7, &child);
    head.roles.insert(Role::Head);
    let parent = parent_of(8, &other);
    assert_eq!(leaving(&[&head, &parent]), [7]);
    assert!(!may_name(&head, &parent));
    assert_eq!(leaving(&[&head, &parent, &leader]), NOBODY);
    assert_eq!(leaving(&[&head, &child]), NOBODY);
    assert_eq!(leaving(&[&child, &other]), NOBODY);
}

// A limit of the whereabouts closes the same named chats as one of contact, also while the child is
// suspended.
// Covers: F13 allowed, F13 refused, F14 refused
#[test]
fn limits_close_named_chats() {
    let (child, other) = (pupil(2), pupil(3));
    let (leader, father) = (teacher(5), parent_of(6, &child));
    let neighbor = parent_of(7, &other);
    let with_child =
        |father: &MemberContext, child: &MemberContext| leaving(&[&leader, father, child, &other]);
    for limit in [
        RelationLimit::NoContact,
        RelationLimit::NoWhereabouts,
        RelationLimit::Ended,
    ] {
        let limited = limited(father.clone(), &child, limit);
        assert_eq!(with_child(&limited, &child), [6], "{limit:?}");
        assert_eq!(
            with_child(&limited, &suspended(&child, [Role::Pupil])),
            [6],
            "{limit:?}"
        );
        assert_eq!(leaving(&[&leader, &limited]), NOBODY, "{limit:?}");
        // The rooms of the unit, as in derived chats.
        let among_parents = leaving(&[&leader, &limited, &neighbor]);
        let expected: &[u128] = if limit == RelationLimit::NoContact {
            &[]
        } else {
            &[6]
        };
        assert_eq!(among_parents, expected, "{limit:?}");
        let mut teaches = limited.clone();
        teaches.roles.insert(Role::Teacher);
        teaches.teacher_verified = true;
        teaches.assign(class(), true, false);
        assert_eq!(leaving(&[&teaches, &other, &pupil(4)]), [6], "{limit:?}");
    }
    let limited = limited(father.clone(), &child, RelationLimit::NoDecisions);
    assert_eq!(with_child(&limited, &child), NOBODY);
}

// A suspension takes what rests on its roles and gives nothing else. A member of whom all roles are
// suspended stays in the chat, and the teacher keeps the pupils who are suspended.
// Covers: R82 allowed, R82 refused, F4 refused, F5 refused
#[test]
fn suspended_roles_are_no_ground() {
    let child = pupil(2);
    let (leader, mut second) = (teacher(5), teacher(6));
    for role in [Role::Staff, Role::Deputy, Role::Administrator] {
        second.roles = BTreeSet::from([Role::Teacher, role]);
        let partly = suspended(&second, [Role::Teacher]);
        assert_eq!(leaving(&[&leader, &partly, &child]), [6], "{role:?}");
        assert_eq!(leaving(&[&leader, &partly]), NOBODY, "{role:?}");
        let wholly = suspended(&second, [Role::Teacher, role]);
        assert_eq!(leaving(&[&leader, &wholly, &child]), NOBODY, "{role:?}");
        assert_eq!(responsible(&[&leader, &wholly, &child]), [5], "{role:?}");
        let mut ended = second.clone();
        ended.teaches.clear();
        let ended = suspended(&ended, [Role::Teacher, role]);
        assert_eq!(leaving(&[&leader, &ended, &child]), [6], "{role:?}");
    }
    let absent = suspended(&child, [Role::Pupil]);
    assert_eq!(leaving(&[&leader, &absent]), NOBODY);
    assert_eq!(leaving(&[&leader, &cleared(6), &absent]), [6]);
    assert_eq!(responsible(&[&leader, &absent, &pupil(3)]), [5]);
}
