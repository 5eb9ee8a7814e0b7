//! Refusals of joining.
use parta_proto_membership::v1::ErrorReason;

use crate::error::Error;

impl Error {
    /// The expected record that the person would get was claimed with another account.
    pub(super) fn already_claimed() -> Self {
        Self::state(
            ErrorReason::AlreadyClaimed,
            "This member record already belongs to another account. Ask the administration for a new invitation.",
        )
    }

    /// The invitation was revoked or stopped while its acceptance was on the way.
    pub(crate) fn invitation_ended() -> Self {
        Self::state(
            ErrorReason::InvitationEnded,
            "The invitation was revoked, or no longer works. Ask for another one.",
        )
    }

    /// The request is no longer pending.
    pub(super) fn join_request_decided() -> Self {
        Self::state(
            ErrorReason::JoinRequestDecided,
            "The request was decided or withdrawn before. Read the requests again.",
        )
    }
}
