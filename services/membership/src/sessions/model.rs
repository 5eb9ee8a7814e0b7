use chrono::{DateTime, TimeDelta, Utc};
use parta_ids::{AccountId, OrgId, SessionId};

/// The time for which a refresh whose response was lost can be repeated, and for which a second holder
/// of the token, such as another tab of the browser, gets the same successor.
pub(super) const REPLAY: TimeDelta = TimeDelta::seconds(60);
/// The time for which a session lasts without a refresh.
pub(super) const SESSION_IDLE: TimeDelta = TimeDelta::days(60);
/// The time for which a session is kept after its end, so that a repeated EndSession finds it.
pub(super) const ENDED_RETENTION: TimeDelta = TimeDelta::days(31);
/// The generation of a session that was never refreshed.
pub(super) const FIRST_GENERATION: i64 = 1;

/// A sign-in of a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Session {
    pub(crate) id: SessionId,
    pub(crate) account_id: AccountId,
    /// Raised by each refresh. Only the refresh token of this generation is valid.
    pub(crate) generation: i64,
    pub(crate) create_time: DateTime<Utc>,
    pub(crate) refresh_time: DateTime<Utc>,
    /// When it was ended; `None` while it was not.
    pub(crate) end_time: Option<DateTime<Utc>>,
    /// The organization whose one-time code started it, and for which only it acts; `None` for a session of
    /// an address.
    pub(crate) code_org_id: Option<OrgId>,
    /// When a second person confirmed the use of the code.
    pub(crate) confirm_time: Option<DateTime<Utc>>,
}

impl Session {
    /// A session that begins now.
    pub(super) fn new(id: SessionId, account_id: AccountId, now: DateTime<Utc>) -> Self {
        Self {
            id,
            account_id,
            generation: FIRST_GENERATION,
            create_time: now,
            refresh_time: now,
            end_time: None,
            code_org_id: None,
            confirm_time: None,
        }
    }

    /// A session that begins now with a one-time code of an organization.
    pub(super) fn by_code(id: SessionId, account_id: AccountId, org: OrgId, now: DateTime<Utc>) -> Self {
        Self {
            code_org_id: Some(org),
            ..Self::new(id, account_id, now)
        }
    }

    /// Whether the session may act for an organization.
    pub(super) fn acts_for(&self, org: OrgId) -> bool {
        self.code_org_id.is_none_or(|own| own == org)
    }

    /// The time since which it reads personal and named chats; `None` if it reads them from the beginning.
    pub(super) fn reads_since(&self) -> Option<DateTime<Utc>> {
        self.code_org_id
            .filter(|_| self.confirm_time.is_none())
            .map(|_| self.create_time)
    }

    /// Whether it was neither ended nor left idle for too long.
    pub(super) fn is_alive(&self, now: DateTime<Utc>) -> bool {
        self.end_time.is_none() && self.refresh_time > now - SESSION_IDLE
    }

    /// Whether it is alive and its first refresh token was not used.
    pub(super) fn is_unused(&self, now: DateTime<Utc>) -> bool {
        self.is_alive(now) && self.generation == FIRST_GENERATION
    }

    /// Whether a refresh with the token of `generation` comes shortly after the refresh that replaced it,
    /// while the successor is unused. It is the same request whose response was lost, or another tab
    /// that had the token.
    pub(super) fn is_replay(&self, generation: i64, now: DateTime<Utc>) -> bool {
        generation + 1 == self.generation && now - self.refresh_time <= REPLAY
    }
}
