use chrono::{DateTime, Utc};
use parta_ids::{ApplicationId, OrgId};

/// The content of an approved application that appoints an administrator.
#[derive(Debug, Clone)]
pub(crate) struct NewAppointment {
    pub(crate) application_id: ApplicationId,
    /// The phone number in its one form.
    pub(crate) phone: String,
    pub(crate) full_name: String,
    pub(crate) organization_display_name: String,
}

/// A right to become the administrator of an organization.
#[derive(Debug, Clone)]
pub(crate) struct Appointment {
    pub(crate) org_id: OrgId,
    pub(crate) full_name: String,
    pub(crate) organization_display_name: String,
    pub(crate) create_time: DateTime<Utc>,
}
