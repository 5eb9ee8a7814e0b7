//! The refusals of applications.
use parta_ids::ApplicationId;
use parta_proto_org_registry::v1::ErrorReason;
use parta_status::{RpcError, not_found};

use super::ApplicationState;
use crate::error::Error;

impl Error {
    /// An application of this organization is pending or was approved.
    pub(in crate::applications) fn duplicate() -> Self {
        let why = "An application of this organization is pending or was approved.";
        RpcError::new(ErrorReason::ApplicationDuplicate, why).into()
    }

    /// The application was decided before.
    pub(in crate::applications) fn decided(state: ApplicationState) -> Self {
        RpcError::new(
            ErrorReason::ApplicationDecided,
            "The application was decided before.",
        )
        .precondition("APPLICATION", "application", state.text())
        .meta("state", state.text())
        .into()
    }

    pub(in crate::applications) fn unknown_application(id: ApplicationId) -> Self {
        not_found("application", id).into()
    }
}
