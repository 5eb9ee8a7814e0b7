use chrono::{DateTime, Utc};
use parta_ids::{GuardianshipId, MemberId, OrgId};

/// A relation of a guardian and a child.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Guardianship {
    pub(crate) org_id: OrgId,
    pub(crate) id: GuardianshipId,
    pub(crate) guardian_id: MemberId,
    pub(crate) child_id: MemberId,
    /// Whether staff confirmed it. Before, it has no effect.
    pub(crate) confirmed: bool,
    pub(crate) create_time: DateTime<Utc>,
    /// When it ended; `None` while it lasts.
    pub(crate) end_time: Option<DateTime<Utc>>,
    /// The cause of its ending, as the deciding person wrote it; `None` if it ended with a member's leaving.
    pub(crate) end_cause: Option<String>,
}

impl Guardianship {
    pub(crate) fn has_ended(&self) -> bool {
        self.end_time.is_some()
    }
}
