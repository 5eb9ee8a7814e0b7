//! Invitations and their uses: types and rules, no I/O.
use chrono::{DateTime, TimeDelta, Utc};
use parta_ids::{FlowId, InvitationId, MemberId, OrgId, ReservationId, RosterImportId, UnitId};

/// The role that an invitation gives. Administrators, heads and deputies are appointed, not invited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum InviteRole {
    /// A pupil or student.
    Pupil,
    /// A parent of one named child.
    Parent,
    /// A teacher.
    Teacher,
    /// Staff that does not teach.
    Staff,
}

impl InviteRole {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Pupil, Self::Parent, Self::Teacher, Self::Staff];

    /// Whether it is a role of the staff.
    pub fn is_staff(self) -> bool {
        matches!(self, Self::Teacher | Self::Staff)
    }

    /// How many uses a link of this role has unless its maker says so.
    pub fn default_uses(self) -> i32 {
        if self == Self::Parent { 2 } else { 1 }
    }

    /// How many uses a link of this role may have: links of staff are personal.
    pub fn most_uses(self) -> i32 {
        match self {
            Self::Pupil => 60,
            Self::Parent => 4,
            Self::Teacher | Self::Staff => 1,
        }
    }

    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Pupil => "pupil",
            Self::Parent => "parent",
            Self::Teacher => "teacher",
            Self::Staff => "staff",
        }
    }

    pub(crate) fn from_text(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|r| r.text() == text)
    }
}

/// How long a link admits unless its maker says so.
pub const DEFAULT_TTL: TimeDelta = TimeDelta::days(14);
/// How long a link admits at least.
pub const LEAST_TTL: TimeDelta = TimeDelta::minutes(5);
/// How long a link admits at most.
pub const MOST_TTL: TimeDelta = TimeDelta::days(30);

/// What somebody wants a link for; checked for form, not yet for right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// The organization.
    pub org_id: OrgId,
    /// The role given.
    pub role: InviteRole,
    /// The unit it leads to.
    pub unit_id: Option<UnitId>,
    /// The child of a parent's link.
    pub child_id: Option<MemberId>,
    /// The expected member whose record is claimed.
    pub claim_member_id: Option<MemberId>,
    /// Uses.
    pub max_uses: i32,
    /// How long it admits.
    pub ttl: TimeDelta,
    /// Whom it is meant for.
    pub recipient_label: String,
}

/// Whether an invitation still admits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It admits.
    Active,
    /// Every use is taken.
    UsedUp,
    /// Its time is over.
    Expired,
    /// It was annulled.
    Revoked,
}

impl State {
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Active => "ACTIVE",
            Self::UsedUp => "USED_UP",
            Self::Expired => "EXPIRED",
            Self::Revoked => "REVOKED",
        }
    }
}

/// An invitation without its secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invitation {
    /// Its id.
    pub id: InvitationId,
    /// What it was made for; `ttl` is the span between making and expiry.
    pub draft: Draft,
    /// Uses taken, pending ones included.
    pub use_count: i32,
    /// Who made it; `None`: a roster import.
    pub issuer_id: Option<MemberId>,
    /// The import that made it.
    pub roster_import_id: Option<RosterImportId>,
    /// When it was made.
    pub create_time: DateTime<Utc>,
    /// When it stops admitting.
    pub expire_time: DateTime<Utc>,
    /// When somebody last came in.
    pub last_use_time: Option<DateTime<Utc>>,
    /// When it was annulled.
    pub revoke_time: Option<DateTime<Utc>>,
    /// Rises with each change.
    pub revision: i64,
}

impl Invitation {
    /// Where it stands at a moment. Annulled outweighs used up, used up outweighs expired.
    pub fn state(&self, now: DateTime<Utc>) -> State {
        if self.revoke_time.is_some() {
            State::Revoked
        } else if self.use_count >= self.draft.max_uses {
            State::UsedUp
        } else if self.expire_time <= now {
            State::Expired
        } else {
            State::Active
        }
    }

    /// Its name in audit rows.
    pub fn resource_name(&self) -> String {
        format!("organizations/{}/invitations/{}", self.draft.org_id, self.id)
    }
}

/// Where the use of a link by one join flow stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stage {
    /// The use is taken; membership has not been heard yet.
    Pending,
    /// The person is in.
    Confirmed(MemberId),
    /// Membership refused for this reason; the use was given back.
    Released(String),
}

/// The use of a link by one join flow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reservation {
    /// Its id; as a UUID it is the `request_id` towards membership.
    pub id: ReservationId,
    /// The organization.
    pub org_id: OrgId,
    /// The invitation.
    pub invitation_id: InvitationId,
    /// Who accepts.
    pub flow_id: FlowId,
    /// How far it is.
    pub stage: Stage,
}

/// Which links to annul.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// Nobody came in since it was made.
    Unused,
    /// Nobody came in within the policy's time.
    Idle,
}
