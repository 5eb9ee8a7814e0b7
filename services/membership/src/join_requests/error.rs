//! Refusals of joining.
use chrono::TimeDelta;
use parta_proto::status::v1::ErrorReason as Common;
use parta_proto_membership::v1::ErrorReason;
use parta_status::RpcError;

use crate::error::Error;

impl Error {
    /// The expected record that the person would get was claimed with another account.
    pub(super) fn already_claimed() -> Self {
        Self::state(
            ErrorReason::AlreadyClaimed,
            "This member record already belongs to another account. Ask the administration for a new invitation.",
        )
    }

    /// The expected record cannot be joined with that of the member.
    pub(super) fn records_not_joinable() -> Self {
        Self::state(
            ErrorReason::RecordsNotJoinable,
            "The record cannot be joined with the record of this member: it is that of a pupil, or a duty, a \
             suspension, a limit or a relation stands against it. Decide about these first, or refuse the request.",
        )
    }

    /// The invitation was revoked or stopped while its acceptance was on the way.
    pub(crate) fn invitation_ended() -> Self {
        Self::state(
            ErrorReason::InvitationEnded,
            "The invitation was revoked, or no longer works. Ask for another one.",
        )
    }

    /// The account has made too many requests by the invitation. The next one is possible after `wait`.
    pub(super) fn too_many_requests(wait: TimeDelta) -> Self {
        let why = "You have asked five times within a day by this invitation.";
        RpcError::new(Common::RateLimited, format!("{why} Try again later."))
            .quota("account and invitation", why)
            .meta("limit", "requests_by_invitation")
            .retry_after(wait.to_std().unwrap_or_default())
            .into()
    }

    /// The request is no longer pending.
    pub(super) fn join_request_decided() -> Self {
        Self::state(
            ErrorReason::JoinRequestDecided,
            "The request was decided or withdrawn before. Read the requests again.",
        )
    }
}
