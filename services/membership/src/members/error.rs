//! Refusals of MemberService that belong to no other feature.
use parta_proto_membership::v1::ErrorReason;

use crate::error::Error;

impl Error {
    /// No account can be taken from the record.
    pub(super) fn profile_not_releasable() -> Self {
        Self::state(
            ErrorReason::ProfileNotReleasable,
            "Only a record that was expected before a person claimed it can be released, while it has a role of \
             then and is not suspended. Remove the member, or decide about the suspension first.",
        )
    }
}
