use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use parta_access::ServiceAccountPermission;
use parta_ids::{OrgId, ServiceAccountId, ServiceAccountKeyId};

/// The minimum and maximum number of permissions that a request names.
pub(super) const PERMISSIONS: std::ops::RangeInclusive<usize> = 1..=20;
/// The maximum number of keys of an account: the present one and its successor.
pub(super) const MAX_KEYS: usize = 2;
/// A use is not recorded again before this time has passed, so that most calls write nothing.
pub(super) const RECORD_USE_AFTER: TimeDelta = TimeDelta::hours(1);

/// An external system of an organization.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ServiceAccount {
    pub(crate) org_id: OrgId,
    pub(crate) id: ServiceAccountId,
    pub(crate) display_name: String,
    pub(crate) permissions: BTreeSet<ServiceAccountPermission>,
    pub(crate) create_time: DateTime<Utc>,
}

/// A key of an account, without its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ServiceAccountKey {
    pub(crate) id: ServiceAccountKeyId,
    pub(crate) account_id: ServiceAccountId,
    pub(crate) create_time: DateTime<Utc>,
    pub(crate) last_use_time: Option<DateTime<Utc>>,
}

impl ServiceAccountKey {
    /// Whether a use at this time is recorded.
    pub(super) fn is_use_recorded(&self, now: DateTime<Utc>) -> bool {
        self.last_use_time
            .is_none_or(|latest| now - latest >= RECORD_USE_AFTER)
    }
}

/// An account with its keys that were not revoked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ServiceAccountView {
    pub(crate) account: ServiceAccount,
    /// In the order of their creation.
    pub(crate) keys: Vec<ServiceAccountKey>,
}

/// The reason why one name in a list of permissions is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WrongName {
    Unknown,
    Repeated,
}

/// Reads the permissions that an administrator names, or returns each wrong name by its index.
pub(super) fn permissions(
    named: &[String],
) -> Result<BTreeSet<ServiceAccountPermission>, Vec<(usize, WrongName)>> {
    let (mut found, mut wrong) = (BTreeSet::new(), Vec::new());
    for (index, name) in named.iter().enumerate() {
        match name.parse() {
            Ok(permission) if found.insert(permission) => {}
            Ok(_) => wrong.push((index, WrongName::Repeated)),
            Err(_) => wrong.push((index, WrongName::Unknown)),
        }
    }
    if wrong.is_empty() { Ok(found) } else { Err(wrong) }
}

/// Reads stored permissions. A name of another build gives nothing.
pub(super) fn stored_permissions(names: &str) -> BTreeSet<ServiceAccountPermission> {
    names.split(' ').filter_map(|name| name.parse().ok()).collect()
}
