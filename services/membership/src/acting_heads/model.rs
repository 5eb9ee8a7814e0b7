use chrono::{DateTime, NaiveDate, Utc};
use parta_ids::{ActingHeadId, MemberId, OrgId};

use crate::orders::Order;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ActingHead {
    pub(crate) org_id: OrgId,
    pub(crate) id: ActingHeadId,
    pub(crate) member_id: MemberId,
    pub(crate) order: Order,
    pub(crate) appointer_id: MemberId,
    pub(crate) create_time: DateTime<Utc>,
    /// The last day in the time zone of the organization.
    pub(crate) until: NaiveDate,
    /// When the last day is over.
    pub(crate) due_time: DateTime<Utc>,
    pub(crate) end_time: Option<DateTime<Utc>>,
    /// The cause that the deciding person wrote; `None` if nobody decided.
    pub(crate) end_cause: Option<String>,
}
