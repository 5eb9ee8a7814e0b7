//! Requests to join: types.
use chrono::{DateTime, TimeDelta, Utc};
use parta_ids::{AccountId, InvitationId, JoinRequestId, MemberId, OrgId, UnitId};
use parta_roster::Role;

use crate::member_records::name_key;

/// A request that nobody decides expires after this time.
pub(super) const DECISION_TIME: TimeDelta = TimeDelta::days(30);

/// The maximum number of requests of an account by one invitation within [`REQUEST_PERIOD`]. Each is a
/// row and two events, and waits for a decision of the staff.
pub(super) const REQUESTS_MAX: u64 = 5;
pub(super) const REQUEST_PERIOD: TimeDelta = TimeDelta::days(1);

/// The role and the relations that an invitation gives to a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Terms {
    pub(crate) org_id: OrgId,
    pub(crate) invitation_id: InvitationId,
    pub(crate) role: Role,
    /// The unit in which a pupil is enrolled.
    pub(crate) unit_id: Option<UnitId>,
    /// The child of a parent.
    pub(crate) child_id: Option<MemberId>,
    /// The expected member whose record the person takes over.
    pub(crate) claim_member_id: Option<MemberId>,
    /// The member who created the invitation; `None` for an invitation of a roster import.
    pub(crate) issuer_id: Option<MemberId>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RequestState {
    Pending,
    Accepted,
    Refused,
    Withdrawn,
    /// Nobody decided in time.
    Expired,
    /// The invitation was revoked before anybody decided.
    InvitationRevoked,
}

impl RequestState {
    pub(crate) const ALL: [Self; 6] = [
        Self::Pending,
        Self::Accepted,
        Self::Refused,
        Self::Withdrawn,
        Self::Expired,
        Self::InvitationRevoked,
    ];

    /// The number in the database, which is that of the API.
    pub(crate) fn number(self) -> i32 {
        match self {
            Self::Pending => 1,
            Self::Accepted => 2,
            Self::Refused => 3,
            Self::Withdrawn => 4,
            Self::Expired => 5,
            Self::InvitationRevoked => 6,
        }
    }

    pub(crate) fn from_number(number: i32) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.number() == number)
    }
}

/// A request to become a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct JoinRequest {
    pub(crate) id: JoinRequestId,
    pub(crate) account_id: AccountId,
    /// The name that the person gave.
    pub(crate) full_name: String,
    pub(crate) terms: Terms,
    /// Whether the person, or another one with the same address, had the role before and left.
    pub(crate) returning: bool,
    pub(crate) state: RequestState,
    pub(crate) create_time: DateTime<Utc>,
    pub(crate) decide_time: Option<DateTime<Utc>>,
    /// `None` if nobody of the organization decided.
    pub(crate) decider_id: Option<MemberId>,
    /// The member that the person became.
    pub(crate) member_id: Option<MemberId>,
}

/// A request with the expected members who the person may be.
#[derive(Debug, Clone)]
pub(crate) struct Suggested {
    pub(crate) request: JoinRequest,
    pub(crate) member_ids: Vec<MemberId>,
    /// Whether another member, who works in the organization, has a name that looks alike.
    pub(crate) namesake_of_staff: bool,
}

/// The decision about one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The person joins, as this expected member if one is named.
    Accept(Option<MemberId>),
    Refuse,
}

/// Whether two names look alike.
pub(super) fn same_name(a: &str, b: &str) -> bool {
    name_key(a) == name_key(b)
}

#[cfg(test)]
mod tests {
    use super::same_name;

    #[test]
    fn names_differ_by_more_than_case_and_spaces() {
        assert!(same_name("Артём  Белов", "артем белов "));
        assert!(!same_name("Артём Белов", "Белов Артём"));
    }
}
