use chrono::{DateTime, Utc};
use parta_ids::{EnrollmentId, MemberId, OrgId, UnitId};

/// A pupil in a unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Enrollment {
    pub(crate) org_id: OrgId,
    pub(crate) id: EnrollmentId,
    pub(crate) member_id: MemberId,
    pub(crate) unit_id: UnitId,
    pub(crate) create_time: DateTime<Utc>,
}
