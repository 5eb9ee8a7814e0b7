use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use parta_ids::{OrgId, ServiceAccountId};

/// How many permissions an account has at least and at most.
const PERMISSIONS: std::ops::RangeInclusive<usize> = 1..=20;
/// The longest name of a permission, in characters.
const PERMISSION_MAX_CHARS: usize = 64;

/// An external system of an organization.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ServiceAccount {
    pub(crate) org_id: OrgId,
    pub(crate) id: ServiceAccountId,
    pub(crate) display_name: String,
    pub(crate) permissions: BTreeSet<String>,
    pub(crate) create_time: DateTime<Utc>,
}

/// Reads the permissions that an administrator names, for example `roster.read`; `None` if one has another
/// form, or there are none or too many. Which permissions exist is known by the RPCs that require them.
pub(crate) fn permissions(named: &[String]) -> Option<BTreeSet<String>> {
    let well_formed = |name: &String| {
        (1..=PERMISSION_MAX_CHARS).contains(&name.len())
            && name
                .chars()
                .all(|c| c.is_ascii_lowercase() || matches!(c, '.' | '_'))
    };
    let valid = PERMISSIONS.contains(&named.len()) && named.iter().all(well_formed);
    valid.then(|| named.iter().cloned().collect())
}
