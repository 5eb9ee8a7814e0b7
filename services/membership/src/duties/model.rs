use chrono::{DateTime, NaiveDate, Utc};
use parta_ids::{DutyId, MemberId, OrgId};
use parta_roster::{DutyKind, DutyScope};

use crate::orders::Order;

/// A duty of a member of the staff.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Duty {
    pub(crate) org_id: OrgId,
    pub(crate) id: DutyId,
    pub(crate) member_id: MemberId,
    pub(crate) kind: DutyKind,
    pub(crate) scope: DutyScope,
    pub(crate) order: Order,
    pub(crate) create_time: DateTime<Utc>,
    /// The last day in the time zone of the organization.
    pub(crate) until: NaiveDate,
    /// When the last day is over.
    pub(crate) due_time: DateTime<Utc>,
    pub(crate) end_time: Option<DateTime<Utc>>,
    /// The cause that the deciding person wrote; `None` if nobody decided.
    pub(crate) end_cause: Option<String>,
}

impl Duty {
    pub(crate) fn has_ended(&self) -> bool {
        self.end_time.is_some()
    }
}
