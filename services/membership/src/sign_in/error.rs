//! Refusals to send or to verify a code.
use chrono::TimeDelta;
use parta_proto::status::v1::ErrorReason as Common;
use parta_proto_membership::v1::ErrorReason;
use parta_status::RpcError;

use crate::error::Error;

impl Error {
    /// The flow is unknown, has expired or was used.
    pub(crate) fn flow_unknown() -> Self {
        Self::state(
            ErrorReason::FlowUnknown,
            "The sign-in has ended. Request another code.",
        )
    }

    /// The code is not the code of the flow.
    pub(super) fn code_wrong() -> Self {
        Self::state(ErrorReason::CodeWrong, "The code is wrong.")
    }

    /// A limit of an address is reached. It ends after `wait`.
    pub(super) fn limited(limit: &'static str, wait: TimeDelta) -> Self {
        let why = "Too many codes or attempts for this address.";
        RpcError::new(Common::RateLimited, why)
            .quota("address", why)
            .meta("limit", limit)
            .retry_after(wait.to_std().unwrap_or_default())
            .into()
    }
}
