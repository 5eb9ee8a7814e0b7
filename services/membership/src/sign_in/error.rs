//! Refusals to send or to verify a code.
use parta_proto_membership::v1::ErrorReason;

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
}
