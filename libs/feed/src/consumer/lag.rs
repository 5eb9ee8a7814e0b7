use std::time::Duration;

use parta_ids::OrgId;

/// An organization that has unapplied events.
#[derive(Debug, Clone)]
pub struct Lag {
    /// The organization.
    pub org_id: OrgId,
    /// The number of unapplied events; below zero if the source has lost events that were applied.
    pub events: i64,
    /// The time since its projection was complete; `None` if it never was since the start.
    pub age: Option<Duration>,
    /// Whether it is quarantined.
    pub is_quarantined: bool,
}
