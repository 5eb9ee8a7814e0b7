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

    /// A one-time code of an organization started the session, and the call is not for that organization.
    pub(super) fn code_session_limited() -> Self {
        Self::state(
            ErrorReason::CodeNotAllowed,
            "You have signed in with a one-time code of the school, which is not enough for this. Sign in with \
             your phone or e-mail.",
        )
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
