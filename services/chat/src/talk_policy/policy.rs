use std::collections::{BTreeMap, BTreeSet};

use parta_ids::{MemberId, UnitId};
use parta_roster::{DutyFunction, LimitedChild, MemberContext, RelationLimit, Role};

fn is_pupil(facts: &MemberContext) -> bool {
    facts.holds(Role::Pupil)
}

/// Whether one of these units is living, and the other member is a pupil in it or has a child in it.
fn has_in<'a>(
    teacher: &MemberContext,
    units: impl IntoIterator<Item = &'a UnitId>,
    other: &MemberContext,
) -> bool {
    let meets = |unit: UnitId| other.is_pupil_in(unit) || other.is_parent_in(unit);
    teacher.is_cleared()
        && units
            .into_iter()
            .any(|unit| teacher.is_living(*unit) && meets(*unit))
}

/// A substitute opens no personal chats (F3), and an archived unit is no ground for one.
fn teaches_pupil_or_parent(teacher: &MemberContext, other: &MemberContext) -> bool {
    has_in(teacher, &teacher.teaches, other)
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

/// Whether both work in the organization.
fn are_colleagues(one: &MemberContext, other: &MemberContext) -> bool {
    one.is_staff() && other.is_staff() && !is_pupil(one) && !is_pupil(other)
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
        || are_colleagues(one, other)
}

/// Whether a pupil or a parent may be in a named chat under the responsibility of the member: a cleared
/// teacher of a living unit of the pupil or of a child of the parent, also as a substitute, or the holder of
/// a duty to be in rooms with them.
fn is_responsible_for(staff: &MemberContext, other: &MemberContext) -> bool {
    has_in(staff, staff.teaches.iter().chain(&staff.substitute_in), other)
        || staff.may(DutyFunction::Rooms, other)
}

/// Whether the member has an own ground to be in a named chat with the other one.
fn has_ground(one: &MemberContext, other: &MemberContext) -> bool {
    is_responsible_for(one, other) || one.is_guardian_of(other.member_id)
}

/// Whether a limit toward a child closes the named chats of the child: one of contact, or one of the
/// whereabouts, because such a chat says where the child is.
fn closes_chats(limited: &LimitedChild) -> bool {
    [RelationLimit::NoContact, RelationLimit::NoWhereabouts]
        .into_iter()
        .any(|limit| limited.limits.forbids(limit))
}

/// Whether a limit keeps one of the two out of a named chat in which the other is. Symmetric.
pub(crate) fn are_kept_apart(one: &MemberContext, other: &MemberContext) -> bool {
    let keeps = |one: &MemberContext, other: &MemberContext| {
        let is_other = |limited: &&LimitedChild| limited.member_id == other.member_id;
        one.limited.iter().filter(is_other).any(closes_chats)
    };
    keeps(one, other) || keeps(other, one)
}

/// Whether two members may be in one named chat by a ground of one of them.
fn may_share_chat(one: &MemberContext, other: &MemberContext) -> bool {
    let has_any = are_colleagues(one, other) || has_ground(one, other) || has_ground(other, one);
    has_any && !are_kept_apart(one, other)
}

/// Whether staff may name this member as a participant of a chat (R34, R35): a colleague, or a pupil or
/// parent toward whom the ground is their own; the administration each of these, other staff only members
/// with whom they may talk. [`named_chat`] decides whether all may be in one chat.
pub(crate) fn may_name(staff: &MemberContext, other: &MemberContext) -> bool {
    staff.is_staff()
        && other.is_active()
        && may_share_chat(staff, other)
        && (staff.is_administration() || staff.member_id == other.member_id || may_talk(staff, other))
}

/// The capacity in which a member participates in a named chat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// A cleared adult with a ground toward every pupil in the chat. Without one, pupils are left alone.
    Responsible,
    /// Everybody else who reads and writes.
    Present,
    /// All roles of the member are suspended. The member stays in the chat, and neither reads nor writes.
    Suspended,
}

/// A person in a named chat.
struct Person<'a> {
    /// The facts by which the person is in the chat: those in force or, while all roles are suspended, those
    /// of the suspended roles.
    own: &'a MemberContext,
    /// The facts by which others have a ground toward the person. A suspended child has the same protection.
    whole: &'a MemberContext,
    is_active: bool,
}

impl<'a> Person<'a> {
    /// `None` for a member who has not joined or has left, and for one who is neither a pupil nor of the
    /// staff nor a parent by a confirmed relation.
    fn of(facts: &'a MemberContext) -> Option<Self> {
        let whole = facts.reinstated();
        let own = if facts.is_suspended() { whole } else { facts };
        let person = Self {
            own,
            whole,
            is_active: facts.is_active(),
        };
        let is_in = own.is_active() && (own.is_staff() || own.is_parent() || person.takes_part_as_pupil());
        is_in.then_some(person)
    }

    fn id(&self) -> MemberId {
        self.own.member_id
    }

    fn is_pupil(&self) -> bool {
        is_pupil(self.whole)
    }

    /// Whether the person is in the chat as a pupil: not by another role while that of a pupil is suspended.
    fn takes_part_as_pupil(&self) -> bool {
        self.own.roles.contains(&Role::Pupil)
    }

    fn is_staff(&self) -> bool {
        self.own.is_staff() && !self.is_pupil()
    }

    fn is_responsible_for(&self, other: &Self) -> bool {
        is_responsible_for(self.own, other.whole)
    }

    fn has_ground(&self, other: &Self) -> bool {
        has_ground(self.own, other.whole)
    }

    /// Whether the ground toward the other person lasts, so that the person may be responsible for a chat: a
    /// substitute does not become responsible (F3).
    fn has_lasting_ground(&self, other: &Self) -> bool {
        teaches_pupil_or_parent(self.own, other.whole) || self.own.may(DutyFunction::Rooms, other.whole)
    }

    /// The living unit in which the person teaches everybody of these families, not as a substitute.
    fn unit_of(&self, families: &[&Self]) -> Option<UnitId> {
        let teaches_all = |unit: &UnitId| families.iter().all(|other| has_in(self.own, [unit], other.whole));
        let units = self.own.teaches.iter().filter(|_| !families.is_empty());
        units.copied().find(teaches_all)
    }

    /// Whether a limit keeps the person from this one: the child, a pupil of a unit of the child, or, if the
    /// limit is about the whereabouts, another parent of such a unit, as in the chats of the unit.
    fn is_kept_from(&self, other: &Self) -> bool {
        let keeps = |limited: &LimitedChild| {
            let in_unit = |unit: &UnitId| {
                let is_parent = !other.is_staff() && other.whole.is_parent_in(*unit);
                other.whole.is_pupil_in(*unit)
                    || (is_parent && limited.limits.forbids(RelationLimit::NoWhereabouts))
            };
            limited.member_id == other.id() || limited.units.iter().any(in_unit)
        };
        let closing = |limited: &&LimitedChild| closes_chats(limited);
        self.own.limited.iter().filter(closing).any(keeps)
    }
}

/// Those of a named chat by whom others may meet in it.
struct Meeting<'a> {
    /// The cleared adults with a ground toward every pupil.
    responsible: Vec<&'a Person<'a>>,
    /// The pupils, and the parents whose own child is in the chat if any pupil is.
    families: BTreeSet<MemberId>,
}

impl Meeting<'_> {
    /// Whether two people may be in the chat together: two of the staff, two pupils, two of whom one has a
    /// ground toward the other, and otherwise a parent with another parent or a pupil under an adult who is
    /// responsible for both.
    fn allows(&self, one: &Person<'_>, other: &Person<'_>) -> bool {
        let are_families = || {
            [one, other]
                .iter()
                .all(|person| self.families.contains(&person.id()))
        };
        let under = |adult: &&Person<'_>| adult.is_responsible_for(one) && adult.is_responsible_for(other);
        (one.is_staff() && other.is_staff())
            || (one.takes_part_as_pupil() && other.takes_part_as_pupil())
            || one.has_ground(other)
            || other.has_ground(one)
            || (are_families() && self.responsible.iter().any(under))
    }
}

/// The people of a named chat.
struct Room<'a> {
    people: Vec<Person<'a>>,
}

impl Room<'_> {
    fn pupils(&self) -> impl Iterator<Item = &Person<'_>> {
        self.people.iter().filter(|person| person.is_pupil())
    }

    fn staff(&self) -> impl Iterator<Item = &Person<'_>> {
        self.people.iter().filter(|person| person.is_staff())
    }

    fn parents(&self) -> impl Iterator<Item = &Person<'_>> {
        let is_parent = |person: &&Person<'_>| !person.is_staff() && !person.takes_part_as_pupil();
        self.people.iter().filter(is_parent)
    }

    /// The people for whom the staff is here: the pupils or, without pupils, the parents.
    fn families(&self) -> Vec<&Person<'_>> {
        let pupils: Vec<_> = self.pupils().collect();
        if pupils.is_empty() {
            self.parents().collect()
        } else {
            pupils
        }
    }

    /// The cleared adults with a ground toward every pupil. A suspended one is not there for the others.
    fn responsible(&self) -> Vec<&Person<'_>> {
        let is_cleared =
            |person: &Person<'_>| person.own.is_cleared() || person.own.has_function(DutyFunction::Rooms);
        self.staff()
            .filter(|person| person.is_active && is_cleared(person))
            .filter(|person| self.pupils().all(|pupil| person.is_responsible_for(pupil)))
            .collect()
    }

    /// The staff who may be responsible for the chat: for everybody for whom the staff is here, by a ground
    /// that lasts. A suspended one may not. Each has the unit that is the ground, if one is.
    fn may_lead(&self) -> BTreeMap<MemberId, Option<UnitId>> {
        let families = self.families();
        let leads = |staff: &&Person<'_>| {
            staff.is_active && families.iter().all(|person| staff.has_lasting_ground(person))
        };
        self.staff()
            .filter(leads)
            .map(|staff| (staff.id(), staff.unit_of(&families)))
            .collect()
    }

    /// Whether the person is a pupil, or a parent whose own child is in the chat if any pupil is.
    fn is_of_a_family(&self, person: &Person<'_>) -> bool {
        let is_own = |pupil: &Person<'_>| person.own.is_guardian_of(pupil.id());
        let has_child = || self.pupils().next().is_none() || self.pupils().any(is_own);
        person.is_pupil() || (person.own.is_parent() && has_child())
    }

    fn meeting(&self) -> Meeting<'_> {
        let families = self.people.iter().filter(|person| self.is_of_a_family(person));
        Meeting {
            responsible: self.responsible(),
            families: families.map(Person::id).collect(),
        }
    }

    /// The pupils toward whom no member of the staff has a ground, for example because they have moved to
    /// another class, while one is responsible for another pupil. If no member of the staff is responsible
    /// for any of them, the staff leaves instead. In a chat without pupils the same applies to the parents.
    fn families_without_staff(&self) -> BTreeSet<MemberId> {
        let families = self.families();
        let has_responsible =
            |person: &&Person<'_>| self.staff().any(|staff| staff.is_responsible_for(person));
        let has_staff = |person: &&Person<'_>| self.staff().any(|staff| staff.has_ground(person));
        if !families.iter().any(has_responsible) {
            return BTreeSet::new();
        }
        let without = families.into_iter().filter(|person| !has_staff(person));
        without.map(Person::id).collect()
    }

    /// The staff who may not meet each pupil or, in a chat without pupils, each parent.
    fn staff_without_ground(&self) -> BTreeSet<MemberId> {
        let (families, meeting) = (self.families(), self.meeting());
        let meets = |staff: &&Person<'_>| families.iter().all(|person| meeting.allows(staff, person));
        self.staff()
            .filter(|staff| !meets(staff))
            .map(Person::id)
            .collect()
    }

    /// The parents without their child in a chat of pupils, and those who may not meet everybody in the chat.
    fn parents_without_ground(&self) -> BTreeSet<MemberId> {
        let meeting = self.meeting();
        let meets = |parent: &&Person<'_>| {
            let mut others = self.people.iter().filter(|other| other.id() != parent.id());
            meeting.families.contains(&parent.id()) && others.all(|other| meeting.allows(parent, other))
        };
        self.parents()
            .filter(|parent| !meets(parent))
            .map(Person::id)
            .collect()
    }

    /// A named chat of two obeys the rule of personal chats (F14, F16), also if others in it are suspended:
    /// the staff of the two leaves, or the parent if none is staff. Two pupils stay.
    fn adults_of_a_pair(&self) -> BTreeSet<MemberId> {
        let active: Vec<&Person<'_>> = self
            .people
            .iter()
            .filter(|person| person.is_active || person.is_pupil())
            .collect();
        let mut leaving = BTreeSet::new();
        for group in [self.people.iter().collect(), active] {
            if let [one, other] = group.as_slice()
                && !may_talk(one.own, other.own)
            {
                let adults = || group.iter().filter(|person| !person.takes_part_as_pupil());
                let has_staff = adults().any(|person| person.is_staff());
                let staff = adults().filter(|person| person.is_staff() || !has_staff);
                leaving.extend(staff.map(|person| person.id()));
            }
        }
        leaving
    }

    /// The next members who must leave. Each rule is applied to those who remain by the rules before it.
    fn leaving(&self) -> BTreeSet<MemberId> {
        let rules: [fn(&Self) -> BTreeSet<MemberId>; 4] = [
            Self::families_without_staff,
            Self::staff_without_ground,
            Self::parents_without_ground,
            Self::adults_of_a_pair,
        ];
        let mut found = rules.into_iter().map(|rule| rule(self));
        found.find(|members| !members.is_empty()).unwrap_or_default()
    }
}

/// A named chat of some people.
pub(crate) struct NamedChat {
    /// Those who may be in the chat together.
    pub(crate) standings: BTreeMap<MemberId, Standing>,
    /// Those of them who may be responsible for it. Each has the unit in which the member teaches everybody
    /// for whom the staff is there, if there is one.
    pub(crate) may_lead: BTreeMap<MemberId, Option<UnitId>>,
}

/// Decides who participates in a named chat of these people, and as what, and who may be responsible for it
/// (F14, F15). A member who has no standing must leave:
///
/// - a member who has left the organization or has no role, and a parent without a confirmed relation;
/// - a member whom a limit keeps from a child in the chat, or from the pupils or parents of its unit;
/// - an adult without a ground toward every pupil in the chat: the task of a cleared teacher, a duty, the
///   relation to the child; the parent of one of the pupils also while a responsible adult has a ground
///   toward each;
/// - in a chat without pupils, staff without a ground toward a parent, and a parent beside others without a
///   responsible adult;
/// - an adult who would be alone with one member with whom a personal chat is not allowed.
///
/// A member of whom only some roles are suspended is judged by the others. If all are suspended the member
/// stays in the chat as by these roles. A suspended pupil counts as present for all others.
pub(crate) fn named_chat(people: &[MemberContext]) -> NamedChat {
    let people = || people.iter().filter_map(Person::of);
    let is_kept_out =
        |person: &Person<'_>| people().any(|other| other.id() != person.id() && person.is_kept_from(&other));
    let mut room = Room {
        people: people().filter(|person| !is_kept_out(person)).collect(),
    };
    loop {
        let leaving = room.leaving();
        if leaving.is_empty() {
            break;
        }
        room.people.retain(|person| !leaving.contains(&person.id()));
    }
    let responsible: BTreeSet<MemberId> = room.responsible().into_iter().map(Person::id).collect();
    let standing = |person: &Person<'_>| {
        if !person.is_active {
            Standing::Suspended
        } else if responsible.contains(&person.id()) {
            Standing::Responsible
        } else {
            Standing::Present
        }
    };
    let standings = room.people.iter().map(|person| (person.id(), standing(person)));
    NamedChat {
        standings: standings.collect(),
        may_lead: room.may_lead(),
    }
}

/// Returns the members who may not be in a named chat of these people.
pub(crate) fn must_leave(people: &[MemberContext]) -> BTreeSet<MemberId> {
    let staying = named_chat(people).standings;
    let ids = people.iter().map(|facts| facts.member_id);
    ids.filter(|member| !staying.contains_key(member)).collect()
}
