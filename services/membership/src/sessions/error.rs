//! Refusals of sessions.
use parta_proto::status::v1::ErrorReason as Common;
use parta_proto_membership::v1::ErrorReason;
use parta_status::RpcError;

use crate::error::Error;

impl Error {
    /// The session has ended, or the token is not the latest one.
    pub(super) fn session_ended() -> Self {
        Self::state(ErrorReason::SessionEnded, "The session has ended. Sign in again.")
    }

    /// The session behind the token of the call has ended.
    pub(super) fn credential_revoked() -> Self {
        RpcError::new(
            Common::CredentialRevoked,
            "The session of the token has ended. Sign in again.",
        )
        .into()
    }
}
