use chrono::{DateTime, TimeDelta, Utc};
use parta_ids::{AccountId, MemberId, OrgId, SessionId, Uuid};

/// The time for which a code can be used, and for which a requested one waits for the second person.
pub(super) const CODE_LIFE: TimeDelta = TimeDelta::hours(24);
/// The time for which a use whose response was lost can be repeated.
pub(super) const REPLAY: TimeDelta = TimeDelta::seconds(60);
/// The time for which a code is kept after it was requested. Its session can be confirmed as long.
pub(super) const RETENTION: TimeDelta = TimeDelta::days(31);

/// The people who give codes to a member (F11).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum IssuedBy {
    /// The leader of a home unit or the administration: to pupils and parents.
    LeaderOrAdministration,
    /// Two members of the administration: to the other staff.
    TwoOfAdministration,
    /// The operator: to administrators and the head.
    Operator,
}

/// The latest code of a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OneTimeCode {
    pub(super) org_id: OrgId,
    pub(super) member_id: MemberId,
    /// The text is derived from it.
    pub(super) code_id: Uuid,
    /// The account that signs in with it.
    pub(super) account_id: AccountId,
    /// The member who requested it for a member of the staff.
    pub(super) requester_id: Option<MemberId>,
    /// The member who issued it and has seen its text; `None` before that, and for the operator.
    pub(super) issuer_id: Option<MemberId>,
    pub(super) create_time: DateTime<Utc>,
    pub(super) expire_time: DateTime<Utc>,
    /// The digest of the text; `None` before it is issued.
    pub(super) digest: Option<Vec<u8>>,
    pub(super) used: Option<Use>,
    pub(super) confirm_time: Option<DateTime<Utc>>,
    /// The member who confirmed the session; `None` before that, and for the operator.
    pub(super) confirmer_id: Option<MemberId>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Use {
    pub(super) session_id: SessionId,
    pub(super) time: DateTime<Utc>,
    /// The `request_id` of the call, which a repetition names.
    pub(super) request_id: Uuid,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CodeState {
    /// Requested for a member of the staff. A second person has not issued it.
    Requested,
    Issued,
    Used,
    Confirmed,
    /// Not issued or used in time.
    Expired,
}

impl OneTimeCode {
    pub(super) fn state(&self, now: DateTime<Utc>) -> CodeState {
        if self.used.is_some() {
            if self.confirm_time.is_some() {
                CodeState::Confirmed
            } else {
                CodeState::Used
            }
        } else if self.expire_time <= now {
            CodeState::Expired
        } else if self.digest.is_some() {
            CodeState::Issued
        } else {
            CodeState::Requested
        }
    }
}
