//! Why the registry refuses, and the one mapping to documented reasons.

use parta_ids::{ApplicationId, OrgId, UnitId};
use parta_proto::parta::org_registry::v1::{ApplicationState, ErrorReason};
use parta_status::{RpcError, not_found};
use parta_storage::StorageError;
use sea_orm::DbErr;

/// Why the registry refuses.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An application of this organization is pending or was approved.
    #[error("there is such an application")]
    Duplicate,
    /// The application was decided.
    #[error("the application is {0:?}")]
    Decided(ApplicationState),
    /// The label is another living unit's.
    #[error("the label is taken by {0}")]
    LabelTaken(UnitId),
    /// The unit is archived.
    #[error("{0} is archived")]
    Archived(UnitId),
    /// The staff room stays as it is.
    #[error("the staff room stays as it is")]
    StaffRoomFixed,
    /// Such an organization has no such units.
    #[error("such an organization has no such units")]
    KindNotOffered,
    /// There is no such application.
    #[error("no application {0}")]
    UnknownApplication(ApplicationId),
    /// There is no such organization.
    #[error("no organization {0}")]
    UnknownOrganization(OrgId),
    /// There is no such unit for the caller.
    #[error("no unit {0}")]
    UnknownUnit(UnitId),
    /// A refusal with a reason of its own.
    #[error(transparent)]
    Refused(#[from] RpcError),
    /// The database failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl From<DbErr> for Error {
    fn from(error: DbErr) -> Self {
        Self::Storage(error.into())
    }
}

impl From<Error> for RpcError {
    fn from(error: Error) -> Self {
        match error {
            Error::Duplicate => RpcError::new(
                ErrorReason::ApplicationDuplicate,
                "An application of this organization is pending or was approved.",
            ),
            Error::Decided(state) => {
                let state = state
                    .as_str_name()
                    .trim_start_matches("APPLICATION_STATE_")
                    .to_owned();
                RpcError::new(
                    ErrorReason::ApplicationDecided,
                    "The application was decided before.",
                )
                .precondition("APPLICATION", "application", &state)
                .meta("state", state)
            }
            Error::LabelTaken(unit) => RpcError::new(
                ErrorReason::UnitLabelTaken,
                "A living unit of this kind has this label.",
            )
            .resource("unit", unit)
            .meta("unit_id", unit),
            Error::Archived(unit) => RpcError::new(ErrorReason::UnitArchived, "The unit is archived.")
                .precondition("UNIT", unit, "archived"),
            Error::StaffRoomFixed => RpcError::new(
                ErrorReason::StaffRoomFixed,
                "The staff room stays as it is.",
            )
            .precondition("UNIT", "staff room", "made with the organization"),
            Error::KindNotOffered => RpcError::new(
                ErrorReason::UnitKindNotOffered,
                "A partner organization has no classes and groups.",
            )
            .precondition("ORGANIZATION", "kind", "partner"),
            Error::UnknownApplication(id) => not_found("application", id),
            Error::UnknownOrganization(id) => not_found("organization", id),
            Error::UnknownUnit(id) => not_found("unit", id),
            Error::Refused(refusal) => refusal,
            Error::Storage(error) => error.into(),
        }
    }
}

impl From<Error> for tonic::Status {
    fn from(error: Error) -> Self {
        RpcError::from(error).into()
    }
}
