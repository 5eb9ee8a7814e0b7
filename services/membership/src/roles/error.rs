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
}
