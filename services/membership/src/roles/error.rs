//! Refusals to change roles.
use parta_proto_membership::v1::ErrorReason;

use crate::error::Error;

impl Error {
    /// The organization would be left without an administrator.
    pub(super) fn last_administrator() -> Self {
        Self::state(
            ErrorReason::LastAdministrator,
            "An organization keeps at least one administrator. Make another member an administrator first.",
        )
    }

    /// The member is not active staff; only active staff can become administrators.
    pub(super) fn administrator_not_joined() -> Self {
        Self::state(
            ErrorReason::AdministratorNotJoined,
            "Only active staff can become administrators. Let the member join as staff first.",
        )
    }

    /// The teacher has no verification that could end.
    pub(super) fn not_verified() -> Self {
        Self::state(ErrorReason::NotVerified, "The teacher is not verified.")
    }

    /// The change would end something else than the preview showed, or there was no preview.
    pub(super) fn role_preview_stale() -> Self {
        Self::state(
            ErrorReason::PreviewStale,
            "The change ends something else than the preview showed, or has no preview. Preview the change again.",
        )
    }

    /// The change can no longer be undone.
    pub(super) fn undo_expired() -> Self {
        Self::state(
            ErrorReason::UndoExpired,
            "The change can no longer be undone. Give the member what is needed by new decisions.",
        )
    }
}
