//! Refusals of roster imports.
use parta_proto_membership::v1::ErrorReason;
use parta_status::RpcError;

use crate::error::Error;

impl Error {
    /// The import cannot be started in its current state.
    pub(super) fn import_not_startable() -> Self {
        Self::state(
            ErrorReason::RosterImportNotStartable,
            "The import cannot be started. Check the files again.",
        )
    }

    /// The import removes so many members that the caller must confirm it.
    pub(super) fn mass_removal(removals: i32) -> Self {
        let why = "The import removes many members. Start it with `allow_mass_removal` if this is intended.";
        RpcError::new(ErrorReason::RosterImportMassRemoval, why)
            .precondition("STATE", "ROSTER_IMPORT_MASS_REMOVAL", why)
            .meta("removals", removals)
            .into()
    }
}
