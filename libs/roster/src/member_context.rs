use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use chrono::{DateTime, Utc};
use parta_access::PrincipalKind;
use parta_ids::{MemberId, OrgId, TypedId, UnitId, Uuid};
use parta_proto_membership::v1 as membership;
use parta_proto_org_registry::v1 as org_registry;

use crate::{Child, Duty, HistoryForNewcomers, LimitedChild, UnitGround};

/// The role of a member in an organization (R23).
///
/// Unknown in a feed event: the stricter reading. A role that this build does not know grants nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// A pupil or student.
    Pupil,
    /// A parent or other legal representative.
    Parent,
    /// A teacher.
    Teacher,
    /// Staff who do not teach.
    Staff,
    /// An administrator of the organization in Parta.
    Administrator,
    /// The head.
    Head,
    /// A deputy of the head.
    Deputy,
}

impl Role {
    /// All roles.
    pub const ALL: [Self; 7] = [
        Self::Pupil,
        Self::Parent,
        Self::Teacher,
        Self::Staff,
        Self::Administrator,
        Self::Head,
        Self::Deputy,
    ];

    /// Returns whether a holder works in the organization: every role but that of pupils and parents.
    pub fn is_staff(self) -> bool {
        !matches!(self, Self::Pupil | Self::Parent)
    }

    /// Decodes a set of roles from a bit mask, which is one column instead of a table of roles. Ignores bits
    /// that this build does not know: a caller that reads a stored mask compares it with that of the result.
    pub fn set_of(mask: i32) -> BTreeSet<Self> {
        Self::ALL
            .into_iter()
            .filter(|role| mask & role.bit() != 0)
            .collect()
    }

    /// Encodes a set of roles as a bit mask.
    pub fn mask_of(roles: impl IntoIterator<Item = Self>) -> i32 {
        roles.into_iter().fold(0, |mask, role| mask | role.bit())
    }

    /// Returns the bit of the role. It is stored in databases and never changes.
    pub fn bit(self) -> i32 {
        1 << i32::from(membership::Role::from(self))
    }
}

impl From<Role> for membership::Role {
    fn from(role: Role) -> Self {
        match role {
            Role::Pupil => Self::Pupil,
            Role::Parent => Self::Parent,
            Role::Teacher => Self::Teacher,
            Role::Staff => Self::Staff,
            Role::Administrator => Self::Administrator,
            Role::Head => Self::Head,
            Role::Deputy => Self::Deputy,
        }
    }
}

impl TryFrom<membership::Role> for Role {
    type Error = ();
    fn try_from(role: membership::Role) -> Result<Self, ()> {
        Ok(match role {
            membership::Role::Pupil => Self::Pupil,
            membership::Role::Parent => Self::Parent,
            membership::Role::Teacher => Self::Teacher,
            membership::Role::Staff => Self::Staff,
            membership::Role::Administrator => Self::Administrator,
            membership::Role::Head => Self::Head,
            membership::Role::Deputy => Self::Deputy,
            membership::Role::Unspecified => return Err(()),
        })
    }
}

/// The state of a member in an organization.
///
/// Unknown in a feed event: the stricter reading. A member in a state that this build does not know is not
/// active. The number is stored as received, so that the next build that knows it needs no snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// In the roster, without an account.
    Expected,
    /// Has joined.
    Active,
    /// Has joined, and all roles are suspended (R82). Only the projection has this state: the record of the
    /// member stays active, and so does the state in events and in the API.
    Suspended,
    /// Has left.
    Left,
}

impl From<State> for membership::MemberState {
    fn from(state: State) -> Self {
        match state {
            State::Expected => Self::Expected,
            State::Active | State::Suspended => Self::Active,
            State::Left => Self::Left,
        }
    }
}

impl TryFrom<membership::MemberState> for State {
    type Error = ();
    fn try_from(state: membership::MemberState) -> Result<Self, ()> {
        Ok(match state {
            membership::MemberState::Expected => Self::Expected,
            membership::MemberState::Active => Self::Active,
            membership::MemberState::Left => Self::Left,
            membership::MemberState::Unspecified => return Err(()),
        })
    }
}

/// The policies of an organization that other services need (R9).
///
/// Unknown in a feed event: the stricter reading. A policy with a value that this build does not know is read
/// as the stricter one, and a duration that cannot be read as that of [`Policies::default`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policies {
    /// Whether only verified teachers may have contact with minors.
    pub verification_required: bool,
    /// Whether every verified teacher of the class may invite parents.
    pub parent_inviters_class_staff: bool,
    /// Whether pupils and parents may read «Общешкольный канал».
    pub school_channel_open_to_families: bool,
    /// The time without use after which an invitation counts as idle.
    pub unused_after: Duration,
    /// Since when pupils and parents read what was written before they came.
    pub history_for_newcomers: HistoryForNewcomers,
}

impl Default for Policies {
    fn default() -> Self {
        Self {
            verification_required: true,
            parent_inviters_class_staff: false,
            school_channel_open_to_families: true,
            unused_after: Duration::from_secs(14 * 24 * 3_600),
            history_for_newcomers: HistoryForNewcomers::default(),
        }
    }
}

impl From<&org_registry::Policies> for Policies {
    fn from(policies: &org_registry::Policies) -> Self {
        let duration = policies
            .unused_after
            .and_then(|duration| Duration::try_from(duration).ok());
        Self {
            verification_required: policies.teacher_verification()
                != org_registry::TeacherVerification::Optional,
            parent_inviters_class_staff: policies.parent_inviters()
                == org_registry::ParentInviters::ClassStaff,
            school_channel_open_to_families: policies.school_channel_open_to_families,
            unused_after: duration.unwrap_or(Self::default().unused_after),
            history_for_newcomers: HistoryForNewcomers::of_event(policies.history_for_newcomers),
        }
    }
}

/// All facts about one member on which authorization is based.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberContext {
    /// The organization.
    pub org_id: OrgId,
    /// The member.
    pub member_id: MemberId,
    /// Whether the member is expected, active or left.
    pub state: State,
    /// The roles of the member that are in force: those that are not suspended.
    pub roles: BTreeSet<Role>,
    /// The suspended roles of the member. They grant nothing, and neither does what rests on them.
    pub suspended: BTreeSet<Role>,
    /// Whether the organization has verified this teacher.
    pub teacher_verified: bool,
    /// Whether the person was ever removed for a stated cause, also if the person is a member again.
    pub removed_for_cause: bool,
    /// The units of which the member is the class teacher, not as a substitute.
    pub class_teacher_of: BTreeSet<UnitId>,
    /// The units in which the member teaches, as class teacher or subject teacher, not as a substitute.
    pub teaches: BTreeSet<UnitId>,
    /// The units of which the member is the class teacher as a substitute.
    pub substitute_class_teacher_of: BTreeSet<UnitId>,
    /// The units in which the member teaches as a substitute, in any of the two ways.
    pub substitute_in: BTreeSet<UnitId>,
    /// The classes in which the member is a pupil.
    pub enrolled_in: BTreeSet<UnitId>,
    /// The home units among them in which pupils may open personal chats with each other: classes from grade
    /// 5, and the student groups of a college (F16).
    pub peer_units: BTreeSet<UnitId>,
    /// The units of the member that are archived. Nothing new begins in them.
    pub archived_units: BTreeSet<UnitId>,
    /// The children of whom the member is a confirmed guardian.
    pub children: Vec<Child>,
    /// The duties of the member, also those that a suspension silences: use [`MemberContext::may`].
    pub duties: Vec<Duty>,
    /// The children toward whom an order or a provisional decision limits the member.
    pub limited: Vec<LimitedChild>,
    /// When grounds of the member in units began, as far as it is known: use [`MemberContext::ground_since`].
    pub(crate) begin_times: BTreeMap<(UnitId, UnitGround), DateTime<Utc>>,
    /// When the earliest of the relations to the children was recorded, as far as it is known.
    pub parent_since: Option<DateTime<Utc>>,
    /// The policies of the organization.
    pub policies: Policies,
    /// The context without the suspensions; `None` if there are none.
    pub(crate) unsuspended: Option<Box<MemberContext>>,
}

impl MemberContext {
    /// Returns a member who has only roles.
    pub fn new(
        org_id: OrgId,
        member_id: MemberId,
        state: State,
        roles: impl IntoIterator<Item = Role>,
    ) -> Self {
        Self {
            org_id,
            member_id,
            state,
            roles: roles.into_iter().collect(),
            suspended: BTreeSet::new(),
            teacher_verified: false,
            removed_for_cause: false,
            class_teacher_of: BTreeSet::new(),
            teaches: BTreeSet::new(),
            substitute_class_teacher_of: BTreeSet::new(),
            substitute_in: BTreeSet::new(),
            enrolled_in: BTreeSet::new(),
            peer_units: BTreeSet::new(),
            archived_units: BTreeSet::new(),
            children: Vec::new(),
            duties: Vec::new(),
            limited: Vec::new(),
            begin_times: BTreeMap::new(),
            parent_since: None,
            policies: Policies::default(),
            unsuspended: None,
        }
    }

    fn has(&self, role: Role) -> bool {
        self.is_active() && self.roles.contains(&role)
    }

    /// Returns whether the member has joined and not left. Otherwise, none of the methods below grants
    /// anything.
    pub fn is_active(&self) -> bool {
        self.state == State::Active
    }
    /// Returns whether the member is in the roster without an account.
    pub fn is_expected(&self) -> bool {
        self.state == State::Expected
    }
    /// Returns whether the member is an administrator.
    pub fn is_administrator(&self) -> bool {
        self.has(Role::Administrator)
    }
    /// Returns whether the member is an administrator, the head or a deputy.
    pub fn is_administration(&self) -> bool {
        self.is_administrator() || self.has(Role::Head) || self.has(Role::Deputy)
    }
    /// Returns whether the member works in the organization.
    pub fn is_staff(&self) -> bool {
        self.is_active() && self.roles.iter().any(|role| role.is_staff())
    }
    /// Returns whether the member is cleared to have contact with pupils (glossary: cleared): a teacher
    /// whom the organization has verified, or any teacher where the policy `teacher_verification`
    /// requires no verification. No other role clears anybody, also not that of an administrator or the
    /// head.
    pub fn is_cleared(&self) -> bool {
        self.has(Role::Teacher) && (self.teacher_verified || !self.policies.verification_required)
    }
    /// Records an assignment of the member in a unit.
    pub fn assign(&mut self, unit: UnitId, class_teacher: bool, substitution: bool) {
        let (as_class_teacher, in_unit) = if substitution {
            (&mut self.substitute_class_teacher_of, &mut self.substitute_in)
        } else {
            (&mut self.class_teacher_of, &mut self.teaches)
        };
        in_unit.insert(unit);
        if class_teacher {
            as_class_teacher.insert(unit);
        }
    }
    /// Returns whether the member is the class teacher of the unit. A substitute is not: he does not invite,
    /// decide relations or become responsible (F3).
    pub fn is_class_teacher_of(&self, unit: UnitId) -> bool {
        self.has(Role::Teacher) && self.class_teacher_of.contains(&unit)
    }
    /// Returns whether the member does the work of the class teacher in the chats and calls of the unit, also
    /// as a substitute.
    pub fn acts_as_class_teacher_of(&self, unit: UnitId) -> bool {
        self.is_class_teacher_of(unit)
            || (self.has(Role::Teacher) && self.substitute_class_teacher_of.contains(&unit))
    }
    /// Returns whether the member teaches in the unit, as class teacher or subject teacher, also as a
    /// substitute.
    pub fn teaches_in(&self, unit: UnitId) -> bool {
        self.teaches_permanently_in(unit) || (self.has(Role::Teacher) && self.substitute_in.contains(&unit))
    }
    /// Returns whether the member teaches in the unit, not as a substitute.
    pub fn teaches_permanently_in(&self, unit: UnitId) -> bool {
        self.has(Role::Teacher) && self.teaches.contains(&unit)
    }
    /// Returns whether the member is a pupil in the unit.
    pub fn is_pupil_in(&self, unit: UnitId) -> bool {
        self.has(Role::Pupil) && self.enrolled_in.contains(&unit)
    }
    /// Returns whether a child of the member is a pupil in the unit.
    pub fn is_parent_in(&self, unit: UnitId) -> bool {
        self.has(Role::Parent) && self.children.iter().any(|child| child.units.contains(&unit))
    }
    /// Returns whether the member is a confirmed guardian of the child, who is not of age.
    pub fn is_guardian_of(&self, child: MemberId) -> bool {
        let is_own = |c: &Child| c.member_id == child && !c.unit_rooms_only;
        self.has(Role::Parent) && self.children.iter().any(is_own)
    }
    /// Returns the units in which the member teaches or is enrolled, or in which a child is enrolled, each by
    /// a role that the member holds.
    pub fn units(&self) -> BTreeSet<UnitId> {
        let mut units = BTreeSet::new();
        if self.has(Role::Teacher) {
            units.extend(self.teaches.iter().chain(&self.substitute_in));
        }
        if self.has(Role::Pupil) {
            units.extend(&self.enrolled_in);
        }
        if self.has(Role::Parent) {
            units.extend(self.children.iter().flat_map(|child| &child.units));
        }
        units
    }
    /// Returns every unit of a ground of the member, whatever the roles are.
    pub(crate) fn named_units(&self) -> impl Iterator<Item = UnitId> {
        let children = self.children.iter().flat_map(|child| &child.units);
        [&self.teaches, &self.substitute_in, &self.enrolled_in]
            .into_iter()
            .flatten()
            .chain(children)
            .copied()
    }
    /// Returns whether the unit of a ground of the member is not archived.
    pub fn is_living(&self, unit: UnitId) -> bool {
        !self.archived_units.contains(&unit)
    }
    /// Returns the units whose pupils and parents the member may see, each by a ground of its own: a cleared
    /// teacher those in which he teaches, a pupil those of their own classes, a parent those of the
    /// children (F3, F4).
    pub fn visible_units(&self) -> BTreeSet<UnitId> {
        let mut units = self.units();
        if !self.is_cleared() {
            units.retain(|unit| self.is_pupil_in(*unit) || self.is_parent_in(*unit));
        }
        units
    }

    /// Returns the unit of all samples.
    pub fn sample_unit() -> UnitId {
        UnitId::from_uuid(Uuid::from_u128(2))
    }

    /// Returns a sample member for a kind of principal in the permission matrix; `None` for kinds that are
    /// not members.
    pub fn sample(kind: PrincipalKind) -> Option<Self> {
        let role = match kind {
            PrincipalKind::Pupil => Role::Pupil,
            PrincipalKind::Parent => Role::Parent,
            PrincipalKind::UnverifiedTeacher | PrincipalKind::Teacher | PrincipalKind::ClassTeacher => {
                Role::Teacher
            }
            PrincipalKind::Administrator => Role::Administrator,
            PrincipalKind::Head => Role::Head,
            _ => return None,
        };
        let (org, member) = (
            OrgId::from_uuid(Uuid::from_u128(1)),
            MemberId::from_uuid(Uuid::from_u128(3)),
        );
        let unit = Self::sample_unit();
        let mut facts = Self::new(org, member, State::Active, [role]);
        match kind {
            PrincipalKind::Pupil => {
                facts.enrolled_in.insert(unit);
                facts.peer_units.insert(unit);
            }
            PrincipalKind::Parent => {
                let child = MemberId::from_uuid(Uuid::from_u128(4));
                facts.children.push(Child::new(child, BTreeSet::from([unit])));
            }
            PrincipalKind::UnverifiedTeacher => _ = facts.teaches.insert(unit),
            PrincipalKind::Teacher | PrincipalKind::ClassTeacher => {
                facts.teacher_verified = true;
                facts.teaches.insert(unit);
                if kind == PrincipalKind::ClassTeacher {
                    facts.class_teacher_of.insert(unit);
                }
            }
            _ => {}
        }
        Some(facts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unverified_teacher_meets_minors_only_if_policy_allows() {
        let mut facts = MemberContext::sample(PrincipalKind::UnverifiedTeacher).unwrap();
        assert!(facts.is_staff() && !facts.is_cleared());
        facts.policies.verification_required = false;
        assert!(facts.is_cleared());
    }

    #[test]
    fn left_member_has_no_rights() {
        for kind in PrincipalKind::ALL {
            let Some(mut facts) = MemberContext::sample(kind) else {
                continue;
            };
            facts.state = State::Left;
            let unit = MemberContext::sample_unit();
            assert!(!facts.is_staff() && !facts.is_cleared() && !facts.teaches_in(unit));
            assert!(!facts.is_pupil_in(unit) && !facts.is_parent_in(unit));
        }
    }

    #[test]
    fn roles_survive_encoding() {
        for mask in 0..256 {
            let roles = Role::set_of(mask);
            assert_eq!(Role::set_of(Role::mask_of(roles.iter().copied())), roles);
        }
        assert_eq!(Role::set_of(Role::mask_of(Role::ALL)).len(), 7);
    }
}
