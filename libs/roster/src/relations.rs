//! The relations of guardians and children: what a confirmed relation gives, and the limits that win over
//! every other ground of a guardian toward one child (F12, F13).
use std::collections::BTreeSet;

use parta_ids::{MemberId, UnitId};
use parta_proto_membership::v1 as membership;

/// The kind of a relation. The projection does not have it, because guardians decide nothing yet.
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
///
/// Unknown in a feed event: the stricter reading. A limit that this build does not know is read as all of
/// them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RelationLimit {
    /// No personal chat with the child, and no chat or call in which the child is.
    NoContact,
    /// No timetable, calls and places of the child, and no chat of the parents of the child's unit.
    NoWhereabouts,
    /// No decisions for the child. No rule reads it yet, because guardians decide nothing yet.
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

    /// Decodes the limits of an event. An unknown limit is read as all of them, see [`RelationLimit`].
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
    /// Whether only the chats and calls of the parents of the units are left, because the student is of age.
    pub unit_rooms_only: bool,
}

impl Child {
    /// Returns a child of a parent.
    pub fn new(member_id: MemberId, units: BTreeSet<UnitId>) -> Self {
        Self {
            member_id,
            units,
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

/// Decodes the limits of a row.
pub(crate) fn limits_of(mask: i32) -> Result<RelationLimits, parta_database::StorageError> {
    RelationLimits::from_mask(mask)
        .ok_or_else(|| parta_database::StorageError::unknown_value("roster_relation_limit.limits", mask))
}

#[cfg(test)]
mod tests {
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
}
