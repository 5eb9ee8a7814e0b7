//! The errors of the features and their mapping to documented reasons.
use parta_database::StorageError;
use parta_ids::{ApplicationId, OrgId, UnitId};
use parta_proto::parta::org_registry::v1::ErrorReason;
use parta_status::{RpcError, not_found};

use crate::applications::ApplicationState;

/// Why the service refuses.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// An application of this organization is pending or was approved.
    #[error("the organization has an application")]
    Duplicate,
    /// The application was decided before.
    #[error("the application is {0:?}")]
    Decided(ApplicationState),
    /// Another unit has the label.
    #[error("{0} has the label")]
    LabelTaken(UnitId),
    #[error("{0} is archived")]
    Archived(UnitId),
    /// The staff room cannot be renamed or archived.
    #[error("the staff room cannot be changed")]
    StaffRoomFixed,
    /// Such an organization has no units of this kind.
    #[error("the organization has no units of this kind")]
    KindNotOffered,
    #[error("no application {0}")]
    UnknownApplication(ApplicationId),
    #[error("no organization {0}")]
    UnknownOrganization(OrgId),
    /// The unit does not exist, or the caller may not see it.
    #[error("no unit {0}")]
    UnknownUnit(UnitId),
    /// A refusal of a library, with a reason of its own.
    #[error(transparent)]
    Refused(#[from] RpcError),
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl From<Error> for RpcError {
    fn from(error: Error) -> Self {
        match error {
            Error::Duplicate => RpcError::new(
                ErrorReason::ApplicationDuplicate,
                "An application of this organization is pending or was approved.",
            ),
            Error::Decided(state) => RpcError::new(
                ErrorReason::ApplicationDecided,
                "The application was decided before.",
            )
            .precondition("APPLICATION", "application", state.text())
            .meta("state", state.text()),
            Error::LabelTaken(unit) => RpcError::new(
                ErrorReason::UnitLabelTaken,
                "Another unit of this kind has this label. Choose another label.",
            )
            .resource("unit", unit)
            .meta("unit_id", unit),
            Error::Archived(unit) => RpcError::new(ErrorReason::UnitArchived, "The unit is archived.")
                .precondition("UNIT", unit, "archived"),
            Error::StaffRoomFixed => RpcError::new(
                ErrorReason::StaffRoomFixed,
                "The staff room cannot be renamed or archived.",
            )
            .precondition("UNIT", "staff room", "created with the organization"),
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
