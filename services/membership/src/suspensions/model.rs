use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use parta_ids::{MemberId, OrgId, SuspensionId};
use parta_roster::Role;

/// The time within which a second person decides. Afterwards the suspension is listed for the operator
/// too.
pub(crate) const DECISION_TIME: TimeDelta = TimeDelta::hours(72);

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Suspension {
    pub(crate) org_id: OrgId,
    pub(crate) id: SuspensionId,
    pub(crate) member_id: MemberId,
    /// `None` for all roles, also those that the member gains later.
    pub(crate) roles: Option<BTreeSet<Role>>,
    pub(crate) create_time: DateTime<Utc>,
    /// `None` if a restore repeated the suspension.
    pub(crate) suspender_id: Option<MemberId>,
    /// The reason that the suspender wrote.
    pub(crate) cause: String,
    pub(crate) confirm_time: Option<DateTime<Utc>>,
    /// `None` also if the operator confirmed.
    pub(crate) confirmer_id: Option<MemberId>,
    /// When it was lifted.
    pub(crate) end_time: Option<DateTime<Utc>>,
    /// `None` also if the operator lifted it.
    pub(crate) ender_id: Option<MemberId>,
    pub(crate) end_cause: Option<String>,
}

impl Suspension {
    pub(crate) fn has_ended(&self) -> bool {
        self.end_time.is_some()
    }

    /// Whether it covers these roles; `None` means all roles.
    pub(crate) fn covers(&self, roles: Option<&BTreeSet<Role>>) -> bool {
        match (&self.roles, roles) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(covered), Some(roles)) => roles.is_subset(covered),
        }
    }
}
