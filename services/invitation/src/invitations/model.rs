//! Invitations: types and rules.
use chrono::{DateTime, TimeDelta, Utc};
use parta_ids::{InvitationId, MemberId, OrgId, RosterImportId, UnitId};

/// The role that an invitation gives. Administrators, heads and deputies are appointed, not invited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum InviteRole {
    /// A pupil or student.
    Pupil,
    /// A parent of one named child.
    Parent,
    Teacher,
    /// Staff that does not teach.
    Staff,
}

impl InviteRole {
    pub(crate) const ALL: [Self; 4] = [Self::Pupil, Self::Parent, Self::Teacher, Self::Staff];

    pub(crate) fn is_staff(self) -> bool {
        matches!(self, Self::Teacher | Self::Staff)
    }

    /// Number of uses of a link of this role if the request names none.
    pub(crate) fn default_uses(self) -> i32 {
        if self == Self::Parent { 2 } else { 1 }
    }

    /// The largest number of uses of a link of this role. Links for staff are personal.
    pub(crate) fn most_uses(self) -> i32 {
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

/// Lifetime of a link if the request names none.
pub(crate) const DEFAULT_TTL: TimeDelta = TimeDelta::days(14);
/// The shortest lifetime of a link.
pub(crate) const TTL_MIN: TimeDelta = TimeDelta::minutes(5);
/// The longest lifetime of a link that names a record, a child or an address (R13).
pub(crate) const TTL_MAX: TimeDelta = TimeDelta::days(30);
/// The longest lifetime of a link that names nobody (R13).
pub(crate) const OPEN_TTL_MAX: TimeDelta = TimeDelta::days(14);

/// The contents of a link as requested. Its form is checked; the right to create it is not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Draft {
    pub(crate) org_id: OrgId,
    pub(crate) role: InviteRole,
    /// The unit that the person joins.
    pub(crate) unit_id: Option<UnitId>,
    /// The child of a parent's link.
    pub(crate) child_id: Option<MemberId>,
    /// The expected member whose record is claimed.
    pub(crate) claim_member_id: Option<MemberId>,
    pub(crate) max_uses: i32,
    pub(crate) ttl: TimeDelta,
    /// The intended recipient, shown to staff only.
    pub(crate) recipient_label: String,
    /// The phone or e-mail of the person whom the link admits, in the form in which membership stores it.
    pub(crate) recipient_address: Option<String>,
}

impl Draft {
    /// Whether the link names a record, a child or an address. Any other link makes requests (R18).
    pub(crate) fn is_named(&self) -> bool {
        self.claim_member_id.is_some() || self.child_id.is_some() || self.recipient_address.is_some()
    }

    /// The longest lifetime of the link.
    pub(crate) fn ttl_max(&self) -> TimeDelta {
        if self.is_named() { TTL_MAX } else { OPEN_TTL_MAX }
    }
}

/// The reason why a link does not work although it is active (F8).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stop {
    /// The unit is archived or unknown.
    Unit,
    /// The record was claimed or has left.
    Record,
    /// The child has left.
    Child,
    /// The issuer may no longer invite, or is suspended.
    Issuer,
}

impl Stop {
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Unit => "UNIT",
            Self::Record => "RECORD",
            Self::Child => "CHILD",
            Self::Issuer => "ISSUER",
        }
    }
}

/// Whether an invitation can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Active,
    /// Every use is reserved or confirmed.
    UsedUp,
    Expired,
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
pub(crate) struct Invitation {
    pub(crate) id: InvitationId,
    /// The requested contents; `ttl` is the span from creation to expiry.
    pub(crate) draft: Draft,
    /// Uses that are reserved or confirmed.
    pub(crate) use_count: i32,
    /// The member who created it; `None` if a roster import did.
    pub(crate) issuer_id: Option<MemberId>,
    /// The roster import that created it.
    pub(crate) roster_import_id: Option<RosterImportId>,
    pub(crate) create_time: DateTime<Utc>,
    pub(crate) expire_time: DateTime<Utc>,
    /// When a person last joined with it.
    pub(crate) last_use_time: Option<DateTime<Utc>>,
    pub(crate) revoke_time: Option<DateTime<Utc>>,
    /// Increases with each change.
    pub(crate) revision: i64,
}

impl Invitation {
    /// The state at a moment. Revoked takes precedence over used up, and used up over expired.
    pub(crate) fn state(&self, now: DateTime<Utc>) -> State {
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

    /// The resource name in the audit log.
    pub(crate) fn resource_name(&self) -> String {
        format!("organizations/{}/invitations/{}", self.draft.org_id, self.id)
    }
}

/// The condition that selects the links to revoke.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RevocationCondition {
    /// Nobody has joined since it was created.
    Unused,
    /// Nobody has joined within the period of the organization's policy `unused_after`.
    Idle,
}

/// An invitation with its state at the moment when it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Shown {
    pub(crate) invitation: Invitation,
    pub(crate) state: State,
    /// The reason why it does not work although it is active.
    pub(crate) stop: Option<Stop>,
}
