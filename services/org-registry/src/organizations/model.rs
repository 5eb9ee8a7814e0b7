use chrono::{DateTime, Utc};
use parta_ids::OrgId;
use parta_roster::Policies;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OrganizationKind {
    General,
    /// A college of secondary vocational education.
    Vocational,
    Supplementary,
    /// A partner, which has departments only.
    Partner,
}

impl OrganizationKind {
    const ALL: [Self; 4] = [
        Self::General,
        Self::Vocational,
        Self::Supplementary,
        Self::Partner,
    ];

    /// Returns the number in the database and in the API.
    pub(crate) fn number(self) -> i32 {
        match self {
            Self::General => 1,
            Self::Vocational => 2,
            Self::Supplementary => 3,
            Self::Partner => 4,
        }
    }

    /// Decodes a number of the database or of the API; `None` if this release does not know it.
    pub(crate) fn from_number(number: i32) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.number() == number)
    }
}

/// The initial data of an organization.
#[derive(Debug, Clone)]
pub(crate) struct Registration {
    pub(crate) display_name: String,
    pub(crate) kind: OrganizationKind,
    pub(crate) region: String,
    /// IANA time zone.
    pub(crate) time_zone: String,
    pub(crate) ogrn: String,
    pub(crate) kpp: String,
    pub(crate) head_full_name: String,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Organization {
    pub(crate) id: OrgId,
    pub(crate) display_name: String,
    pub(crate) kind: OrganizationKind,
    pub(crate) region: String,
    /// IANA time zone.
    pub(crate) time_zone: String,
    pub(crate) ogrn: String,
    pub(crate) kpp: String,
    pub(crate) head_full_name: String,
    pub(crate) policies: Policies,
    /// Increases by one with each change of the policies.
    pub(crate) policies_version: i64,
    /// When its application was approved.
    pub(crate) create_time: DateTime<Utc>,
    pub(crate) update_time: DateTime<Utc>,
    /// Increases with each change.
    pub(crate) revision: i64,
}

/// The descriptive fields to change; `None` keeps the current value.
#[derive(Debug, Clone, Default)]
pub(crate) struct Changes {
    pub(crate) display_name: Option<String>,
    pub(crate) region: Option<String>,
    pub(crate) time_zone: Option<String>,
}

impl Changes {
    pub(crate) fn apply(&self, organization: &mut Organization) {
        for (field, value) in [
            (&mut organization.display_name, &self.display_name),
            (&mut organization.region, &self.region),
            (&mut organization.time_zone, &self.time_zone),
        ] {
            if let Some(value) = value {
                field.clone_from(value);
            }
        }
    }
}
