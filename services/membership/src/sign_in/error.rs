//! Refusals to send or to verify a code.
use chrono::TimeDelta;
use parta_proto::status::v1::ErrorReason as Common;
use parta_proto_membership::v1::ErrorReason;
use parta_status::RpcError;

use super::model::{Limit, Scope};
use crate::error::Error;

impl Error {
    /// The flow is unknown, has expired or was used.
    pub(crate) fn flow_unknown() -> Self {
        Self::state(
            ErrorReason::FlowUnknown,
            "The sign-in has ended. Request another code.",
        )
    }

    /// The change of an address is unknown, has expired, has no attempt left, or was replaced by a later one.
    pub(crate) fn change_unknown() -> Self {
        Self::state(
            ErrorReason::FlowUnknown,
            "The change of the address has ended. Request it again.",
        )
    }

    /// The code is not the code of the flow.
    pub(crate) fn code_wrong() -> Self {
        Self::state(ErrorReason::CodeWrong, "The code is wrong.")
    }

    /// Too many wrong codes in a row were entered for the address.
    pub(super) fn locked() -> Self {
        Self::state(
            ErrorReason::SignInLocked,
            "A hundred wrong codes in a row were entered for this address. The administration of the school or \
             the operator of the installation can lift the lock.",
        )
    }

    /// A limit is reached. It ends after `wait`.
    pub(super) fn limited(limit: Limit, wait: TimeDelta) -> Self {
        let (subject, why) = match limit.scope() {
            Scope::Installation => ("installation", "The installation has sent too many codes."),
            Scope::Network => ("network", "Too many codes or attempts from this network."),
            Scope::NetworkAndAddress => (
                "address and network",
                "Too many codes or attempts for this address from this network.",
            ),
        };
        RpcError::new(Common::RateLimited, format!("{why} Try again later."))
            .quota(subject, why)
            .meta("limit", limit.name())
            .retry_after(wait.to_std().unwrap_or_default())
            .into()
    }
}
