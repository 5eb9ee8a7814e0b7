use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use parta_ids::{GuardianshipId, MemberId, OrgId, RelationLimitId};
use parta_roster::{RelationKind, RelationLimit, RelationLimits};

use crate::orders::Order;

/// A guardian of more children than this needs an order.
pub(crate) const CHILDREN_WITHOUT_ORDER: u64 = 6;

/// A provisional limit that has waited for this time awaits the decision of the head.
pub(super) const DECISION_TIME: TimeDelta = TimeDelta::hours(72);

/// The part of a relation that stays after the student's 18th birthday, as the student chose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AdultAccess {
    /// Not chosen: as [`Self::UnitRooms`].
    NotChosen,
    None,
    /// The chats and calls of the parents of the unit, until the end of the school year.
    UnitRooms,
    Full,
}

impl AdultAccess {
    /// The number in the database, which is that of the API.
    pub(crate) fn number(self) -> i32 {
        match self {
            Self::NotChosen => 0,
            Self::None => 1,
            Self::UnitRooms => 2,
            Self::Full => 3,
        }
    }

    /// Reads the number of the database; `None` for one that this build does not know.
    pub(crate) fn from_number(number: i32) -> Option<Self> {
        [Self::NotChosen, Self::None, Self::UnitRooms, Self::Full]
            .into_iter()
            .find(|access| access.number() == number)
    }
}

/// A relation of a guardian and a child.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Guardianship {
    pub(crate) org_id: OrgId,
    pub(crate) id: GuardianshipId,
    pub(crate) guardian_id: MemberId,
    pub(crate) child_id: MemberId,
    pub(crate) kind: RelationKind,
    /// Whether staff confirmed it. Before, it has no effect.
    pub(crate) confirmed: bool,
    /// The first of the two members of the administration who confirm a relation to a protected child.
    pub(crate) approver_id: Option<MemberId>,
    /// The order on which the confirmation rests.
    pub(crate) order: Option<Order>,
    /// Whether only the rooms of the unit are left, because the student is of age.
    pub(crate) unit_rooms_only: bool,
    pub(crate) adult_access: AdultAccess,
    pub(crate) create_time: DateTime<Utc>,
    /// When it ended; `None` while it lasts.
    pub(crate) end_time: Option<DateTime<Utc>>,
    /// The cause of its ending, as the deciding person wrote it; `None` if it ended with a member's leaving.
    pub(crate) end_cause: Option<String>,
    /// Whether an order ended it that no newer order has taken back.
    pub(crate) ended_by_order: bool,
}

impl Guardianship {
    pub(crate) fn has_ended(&self) -> bool {
        self.end_time.is_some()
    }
}

/// Limits of a guardian toward a child. They belong to the two people, so that a new relation of the two does
/// not take them away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Limit {
    pub(crate) org_id: OrgId,
    pub(crate) id: RelationLimitId,
    /// The relation about which the decision was made.
    pub(crate) guardianship_id: GuardianshipId,
    pub(crate) guardian_id: MemberId,
    pub(crate) child_id: MemberId,
    pub(crate) limits: RelationLimits,
    /// The last day, in the time zone of the organization.
    pub(crate) until: Option<NaiveDate>,
    /// `None` for provisional limits.
    pub(crate) order: Option<Order>,
    pub(crate) cause: String,
    pub(crate) author_id: MemberId,
    pub(crate) create_time: DateTime<Utc>,
    pub(crate) end_time: Option<DateTime<Utc>>,
}

impl Limit {
    pub(crate) fn is_provisional(&self) -> bool {
        self.order.is_none()
    }
}

/// The limits in force between two people: those of the latest order, and the provisional ones.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct InForce {
    pub(crate) ordered: Option<Limit>,
    pub(crate) provisional: Option<Limit>,
}

impl InForce {
    pub(crate) fn add(&mut self, limit: Limit) {
        if limit.is_provisional() {
            self.provisional = Some(limit);
        } else {
            self.ordered = Some(limit);
        }
    }

    pub(crate) fn limits(&self) -> RelationLimits {
        let of = |limit: &Option<Limit>| limit.as_ref().map(|limit| limit.limits).unwrap_or_default();
        of(&self.ordered).union(of(&self.provisional))
    }

    /// Whether an order has ended the relation of the two.
    pub(crate) fn is_ended_by_order(&self) -> bool {
        self.ordered
            .as_ref()
            .is_some_and(|limit| limit.limits.forbids(RelationLimit::Ended))
    }

    /// Whether `order` is newer than the one in force. Without one, every order is.
    pub(crate) fn is_older_than(&self, order: &Order) -> bool {
        let stored = self.ordered.as_ref().and_then(|limit| limit.order.as_ref());
        stored.is_none_or(|stored| stored.date < order.date)
    }

    /// Whether the administration has not decided about a provisional limit in time.
    pub(crate) fn awaits_head(&self, now: DateTime<Utc>) -> bool {
        self.provisional
            .as_ref()
            .is_some_and(|limit| now - limit.create_time >= DECISION_TIME)
    }
}

/// A relation as others see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct GuardianshipView {
    pub(crate) row: Guardianship,
    pub(crate) in_force: InForce,
    pub(crate) awaits_head: bool,
}

/// The record of a child of relations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ChildRecord {
    pub(crate) org_id: OrgId,
    pub(crate) child_id: MemberId,
    pub(crate) birth_date: Option<NaiveDate>,
    pub(crate) protected: bool,
    /// The order that set or lifted the protection.
    pub(crate) order: Option<Order>,
}
