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

    /// The import changes so much that the caller must confirm the numbers of the preview.
    pub(super) fn mass_change(kinds: usize) -> Self {
        let why = "The import changes much of the roster. Read its `mass_changes`, and start it with them if this \
                   is intended.";
        RpcError::new(ErrorReason::RosterImportMassChange, why)
            .precondition("STATE", "ROSTER_IMPORT_MASS_CHANGE", why)
            .meta("kinds", kinds)
            .into()
    }

    /// The numbers that the caller confirms are not those of the roster as it is now.
    pub(super) fn preview_stale() -> Self {
        Self::state(
            ErrorReason::PreviewStale,
            "The numbers of the preview are no longer true. Check the files again.",
        )
    }

    /// The change does not wait for a decision.
    pub(super) fn change_not_waiting() -> Self {
        Self::state(
            ErrorReason::RosterChangeNotWaiting,
            "The change does not wait for a decision. Read the changes again.",
        )
    }
}
