//! Refusals of changes of an address.
use parta_proto_membership::v1::ErrorReason;
use parta_status::RpcError;

use crate::error::Error;

impl Error {
    /// At least one of the two codes is wrong.
    pub(super) fn codes_wrong(is_present_wrong: bool, is_new_wrong: bool) -> Self {
        let (codes, message) = match (is_present_wrong, is_new_wrong) {
            (true, true) => ("present_code,new_code", "Both codes are wrong."),
            (true, false) => (
                "present_code",
                "The code that was sent to the present address is wrong.",
            ),
            _ => ("new_code", "The code that was sent to the new address is wrong."),
        };
        RpcError::new(ErrorReason::CodeWrong, message)
            .precondition("STATE", "CODE_WRONG", message)
            .meta("codes", codes)
            .into()
    }
}
