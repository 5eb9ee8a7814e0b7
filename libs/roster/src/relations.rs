//! The relations of guardians and children: what a confirmed relation gives, and the limits that win over
//! every other ground of a guardian toward one child (reach.md 12, 13).
use std::collections::BTreeSet;

use parta_ids::{MemberId, OrgId, TypedId, UnitId, Uuid};
use parta_proto_membership::v1 as membership;
use parta_status::RpcError;
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QuerySelect};

use crate::{
    MemberContext, Role, Roster, UnitKind,
    entities::{guardianship, protection, relation_limit},
    roster::map_db_error,
};

/// The kind of a relation.
///
/// Unknown in a feed event: the stricter reading. A kind that this build does not know does not decide.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RelationKind {
    /// A parent.
    Parent,
    /// A guardian or custodian who was appointed.
    Guardian,
    /// A representative of the institution in which the child lives.
    Institution,
    /// A person whom the family trusts, who does not decide, vote, consent or count.
    Trusted,
}

impl RelationKind {
    /// All kinds.
    pub const ALL: [Self; 4] = [Self::Parent, Self::Guardian, Self::Institution, Self::Trusted];

    /// Returns the number in databases and in the API.
    pub fn number(self) -> i32 {
        match self {
            Self::Parent => 1,
            Self::Guardian => 2,
            Self::Institution => 3,
            Self::Trusted => 4,
        }
    }

    /// Decodes a number; `None` for one that this build does not know.
    pub fn from_number(number: i32) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.number() == number)
    }
}

/// A limit of one guardian toward one child.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RelationLimit {
    /// No personal chat with the child, and no chat or call in which the child is.
    NoContact,
    /// No timetable, calls and places of the child, and no chat of the parents of the child's unit.
    NoWhereabouts,
    /// No decisions for the child.
    NoDecisions,
    /// The end of the relation, which includes the other three.
    Ended,
}

impl RelationLimit {
    /// All limits.
    pub const ALL: [Self; 4] = [
        Self::NoContact,
        Self::NoWhereabouts,
        Self::NoDecisions,
        Self::Ended,
    ];

    /// Returns the number in the API.
    pub fn number(self) -> i32 {
        match self {
            Self::NoContact => 1,
            Self::NoWhereabouts => 2,
            Self::NoDecisions => 3,
            Self::Ended => 4,
        }
    }

    /// Decodes the number of the API; `None` for one that this build does not know.
    pub fn from_number(number: i32) -> Option<Self> {
        Self::ALL.into_iter().find(|limit| limit.number() == number)
    }
}

/// The limits of one guardian toward one child, as a bit mask.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RelationLimits(i32);

impl RelationLimits {
    /// Every limit.
    pub const ALL: Self = Self(0b1111);

    /// Decodes the mask of a database; `None` for a mask that no build has written.
    pub fn from_mask(mask: i32) -> Option<Self> {
        (mask & !Self::ALL.0 == 0).then_some(Self(mask))
    }

    /// Returns the mask. It is stored in databases and never changes.
    pub fn mask(self) -> i32 {
        self.0
    }

    /// Decodes the limits of an event. An unknown limit is read as all of them.
    pub(crate) fn of_event(numbers: &[i32]) -> Self {
        let known: Option<Self> = numbers.iter().map(|n| RelationLimit::from_number(*n)).collect();
        known.unwrap_or(Self::ALL)
    }

    /// Returns whether there is no limit.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Returns whether the limit is in force, by itself or because the relation has ended.
    pub fn forbids(self, limit: RelationLimit) -> bool {
        let has = |limit: RelationLimit| self.0 & (1 << (limit.number() - 1)) != 0;
        has(limit) || has(RelationLimit::Ended)
    }

    /// Returns the limits of both.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Returns whether each of the limits is among these or included by them.
    pub fn include(self, others: Self) -> bool {
        others.iter().all(|limit| self.forbids(limit))
    }

    /// Returns the limits in a fixed order.
    pub fn iter(self) -> impl Iterator<Item = RelationLimit> {
        RelationLimit::ALL
            .into_iter()
            .filter(move |limit| self.0 & (1 << (limit.number() - 1)) != 0)
    }
}

impl FromIterator<RelationLimit> for RelationLimits {
    fn from_iter<T: IntoIterator<Item = RelationLimit>>(limits: T) -> Self {
        Self(
            limits
                .into_iter()
                .fold(0, |mask, limit| mask | 1 << (limit.number() - 1)),
        )
    }
}

impl From<RelationLimit> for membership::RelationLimit {
    fn from(limit: RelationLimit) -> Self {
        match limit {
            RelationLimit::NoContact => Self::NoContact,
            RelationLimit::NoWhereabouts => Self::NoWhereabouts,
            RelationLimit::NoDecisions => Self::NoDecisions,
            RelationLimit::Ended => Self::Ended,
        }
    }
}

/// A child of a member by a confirmed relation that no limit has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Child {
    /// The child.
    pub member_id: MemberId,
    /// The units of the child.
    pub units: BTreeSet<UnitId>,
    /// The kind of the relation.
    pub kind: RelationKind,
    /// Whether only the chats and calls of the parents of the units are left, because the student is of age.
    pub unit_rooms_only: bool,
}

impl Child {
    /// Returns a child of a parent.
    pub fn new(member_id: MemberId, units: BTreeSet<UnitId>) -> Self {
        Self {
            member_id,
            units,
            kind: RelationKind::Parent,
            unit_rooms_only: false,
        }
    }
}

/// A child toward whom a member is limited, whether or not their relation lasts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LimitedChild {
    /// The child.
    pub member_id: MemberId,
    /// The units of the child.
    pub units: BTreeSet<UnitId>,
    /// The limits.
    pub limits: RelationLimits,
}

impl MemberContext {
    /// Returns whether the member is a parent by a confirmed relation. The role PARENT alone gives nothing.
    pub fn is_parent(&self) -> bool {
        self.is_active() && self.roles.contains(&Role::Parent) && !self.children.is_empty()
    }

    /// Returns whether the member decides, votes and consents for the child, and counts as its guardian.
    pub fn decides_for(&self, child: MemberId) -> bool {
        let is_kind = |c: &Child| c.member_id == child && c.kind != RelationKind::Trusted;
        self.is_guardian_of(child)
            && self.children.iter().any(is_kind)
            && !self.limits_toward(child).forbids(RelationLimit::NoDecisions)
    }

    /// Returns the limits of the member toward a child.
    pub fn limits_toward(&self, child: MemberId) -> RelationLimits {
        self.limited
            .iter()
            .filter(|limited| limited.member_id == child)
            .fold(RelationLimits::default(), |all, limited| {
                all.union(limited.limits)
            })
    }

    /// Returns whether no limit forbids contact between the two members. Symmetric.
    pub fn may_contact(&self, other: &Self) -> bool {
        let allows = |one: &Self, other: &Self| {
            !one.limits_toward(other.member_id)
                .forbids(RelationLimit::NoContact)
        };
        allows(self, other) && allows(other, self)
    }

    /// Returns whether a limit keeps the member out of the chats and calls of the pupils of a unit, whatever
    /// other ground the member has there.
    pub fn is_kept_from_pupils_of(&self, unit: UnitId) -> bool {
        self.is_limited_in(unit, RelationLimit::NoContact)
    }

    /// Returns whether a limit keeps from the member where the pupils of a unit are.
    pub fn is_kept_from_whereabouts_of(&self, unit: UnitId) -> bool {
        self.is_limited_in(unit, RelationLimit::NoWhereabouts)
    }

    /// In a unit the strictest limit among the children of the member there applies.
    fn is_limited_in(&self, unit: UnitId, limit: RelationLimit) -> bool {
        self.limited
            .iter()
            .any(|limited| limited.units.contains(&unit) && limited.limits.forbids(limit))
    }
}

impl Roster {
    /// Returns the adults of protected families (R83): everybody who is related to a protected child,
    /// confirmed or not. They are in no list that families see.
    pub async fn protected_adults(
        &self,
        conn: &impl ConnectionTrait,
        org: OrgId,
    ) -> Result<BTreeSet<MemberId>, RpcError> {
        let children: Vec<Uuid> = protection::Entity::find()
            .select_only()
            .column(protection::Column::MemberId)
            .filter(protection::Column::OrgId.eq(org.uuid()))
            .into_tuple()
            .all(conn)
            .await
            .map_err(map_db_error)?;
        let mut adults = BTreeSet::new();
        for chunk in children.chunks(5_000) {
            let found: Vec<Uuid> = guardianship::Entity::find()
                .select_only()
                .column(guardianship::Column::GuardianId)
                .filter(guardianship::Column::OrgId.eq(org.uuid()))
                .filter(guardianship::Column::ChildId.is_in(chunk.iter().copied()))
                .into_tuple()
                .all(conn)
                .await
                .map_err(map_db_error)?;
            adults.extend(found.into_iter().map(MemberId::from_uuid));
        }
        Ok(adults)
    }

    /// Returns whether the family of the child is protected (R83).
    pub async fn is_protected(
        &self,
        conn: &impl ConnectionTrait,
        org: OrgId,
        child: MemberId,
    ) -> Result<bool, RpcError> {
        let row = protection::Entity::find_by_id((org.uuid(), child.uuid()))
            .one(conn)
            .await
            .map_err(map_db_error)?;
        Ok(row.is_some())
    }

    /// Returns the home units among these units: the classes; in an organization without classes, the groups.
    pub async fn home_units(
        &self,
        conn: &impl ConnectionTrait,
        org: OrgId,
        among: &BTreeSet<UnitId>,
    ) -> Result<BTreeSet<UnitId>, RpcError> {
        let units = self.units(conn, org).await?;
        let has_classes = units.iter().any(|unit| unit.kind == UnitKind::Class);
        let home = if has_classes {
            UnitKind::Class
        } else {
            UnitKind::Group
        };
        Ok(units
            .into_iter()
            .filter(|unit| unit.kind == home && among.contains(&unit.unit_id))
            .map(|unit| unit.unit_id)
            .collect())
    }

    /// Returns the pairs of guardian and child, among these children, whose relation a limit has ended.
    pub(crate) async fn ended_pairs(
        &self,
        conn: &impl ConnectionTrait,
        org: OrgId,
        children: &[Uuid],
    ) -> Result<BTreeSet<(Uuid, Uuid)>, RpcError> {
        let rows = relation_limit::Entity::find()
            .filter(relation_limit::Column::OrgId.eq(org.uuid()))
            .filter(relation_limit::Column::ChildId.is_in(children.iter().copied()))
            .all(conn)
            .await
            .map_err(map_db_error)?;
        let mut ended = BTreeSet::new();
        for row in rows {
            if limits_of(row.limits)?.forbids(RelationLimit::Ended) {
                ended.insert((row.guardian_id, row.child_id));
            }
        }
        Ok(ended)
    }
}

/// Decodes the limits of a row.
pub(crate) fn limits_of(mask: i32) -> Result<RelationLimits, parta_database::StorageError> {
    RelationLimits::from_mask(mask)
        .ok_or_else(|| parta_database::StorageError::unknown_value("roster_relation_limit.limits", mask))
}

#[cfg(test)]
mod tests {
    use parta_access::PrincipalKind;

    use super::*;

    #[test]
    fn end_includes_every_limit() {
        let ended = RelationLimits::from_iter([RelationLimit::Ended]);
        assert!(RelationLimit::ALL.into_iter().all(|limit| ended.forbids(limit)));
        assert!(ended.include(RelationLimits::ALL));
        assert!(RelationLimits::default().is_empty() && !RelationLimits::default().include(ended));
    }

    #[test]
    fn unknown_limit_of_an_event_is_read_as_all() {
        assert_eq!(RelationLimits::of_event(&[1, 30]), RelationLimits::ALL);
        assert_eq!(RelationLimits::of_event(&[1]).iter().count(), 1);
    }

    #[test]
    fn trusted_person_is_a_guardian_and_does_not_decide() {
        let mut facts = MemberContext::sample(PrincipalKind::Parent).unwrap();
        let child = facts.children[0].member_id;
        assert!(facts.decides_for(child));
        facts.children[0].kind = RelationKind::Trusted;
        assert!(facts.is_guardian_of(child) && !facts.decides_for(child));
    }

    #[test]
    fn adult_student_keeps_the_parents_in_the_unit_only() {
        let mut facts = MemberContext::sample(PrincipalKind::Parent).unwrap();
        let child = facts.children[0].member_id;
        facts.children[0].unit_rooms_only = true;
        assert!(facts.is_parent_in(MemberContext::sample_unit()));
        assert!(!facts.is_guardian_of(child) && !facts.decides_for(child));
    }
}
