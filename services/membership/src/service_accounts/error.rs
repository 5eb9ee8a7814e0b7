//! Refusals of service accounts.
use parta_proto_membership::v1::ErrorReason;

use crate::error::Error;

impl Error {
    /// The key of a service account is unknown or was revoked.
    pub(super) fn service_account_key_invalid() -> Self {
        Self::state(
            ErrorReason::ServiceAccountKeyInvalid,
            "The key is unknown or was revoked.",
        )
    }

    /// The account has as many keys as it may have.
    pub(super) fn service_account_key_limit() -> Self {
        Self::state(
            ErrorReason::ServiceAccountKeyLimit,
            "The service account has two keys. Revoke one of them first.",
        )
    }
}
