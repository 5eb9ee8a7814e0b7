use chrono::{DateTime, Utc};
use parta_ids::MemberId;

/// A name that a member had.
#[derive(Debug, Clone)]
pub(crate) struct FormerName {
    /// The revision of the member that had the name last.
    pub(crate) revision: i64,
    pub(crate) full_name: String,
    /// When another name replaced it.
    pub(crate) end_time: DateTime<Utc>,
    /// The member who corrected it; `None` if a roster import did.
    pub(crate) corrector_id: Option<MemberId>,
}
