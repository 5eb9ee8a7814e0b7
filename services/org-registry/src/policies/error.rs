//! The refusals of policies.
use parta_ids::PolicyChangeId;
use parta_proto_org_registry::v1::ErrorReason;
use parta_status::{RpcError, not_found};

use super::model::ChangeState;
use crate::error::Error;

impl Error {
    /// The preview was made before the policies changed, or of another change.
    pub(in crate::policies) fn preview_stale() -> Self {
        RpcError::new(
            ErrorReason::PreviewStale,
            "The policies have changed since the preview, or the preview was of another change. Preview it again.",
        )
        .into()
    }

    /// The change is the caller's own matter.
    pub(in crate::policies) fn second_person_required() -> Self {
        RpcError::new(
            ErrorReason::SecondPersonRequired,
            "Nobody confirms their own change. Ask another administrator, the head or a deputy.",
        )
        .into()
    }

    /// Another change of the same policy is pending.
    pub(in crate::policies) fn change_pending(id: PolicyChangeId) -> Self {
        let why = "Another change of this policy awaits a second person. Confirm or drop it first.";
        RpcError::new(ErrorReason::PolicyChangePending, why)
            .precondition("POLICY_CHANGE", id, "pending")
            .meta("policy_change_id", id)
            .into()
    }

    /// The change was applied or dropped before.
    pub(in crate::policies) fn change_decided(id: PolicyChangeId, state: ChangeState) -> Self {
        RpcError::new(
            ErrorReason::PolicyChangeDecided,
            "The change was applied or dropped before.",
        )
        .precondition("POLICY_CHANGE", id, state.text())
        .meta("state", state.text())
        .into()
    }

    /// The author could not make the change today.
    pub(in crate::policies) fn change_lapsed(id: PolicyChangeId) -> Self {
        let why =
            "The member who requested the change is no longer an active administrator. Drop the change.";
        RpcError::new(ErrorReason::PolicyChangeLapsed, why)
            .precondition("POLICY_CHANGE", id, "its author is no active administrator")
            .into()
    }

    /// The operator confirms only on an order.
    pub(in crate::policies) fn order_required() -> Self {
        RpcError::new(
            ErrorReason::OrderRequired,
            "The operator confirms only on a signed order. Call again with the order.",
        )
        .precondition("ORDER", "order", "missing")
        .into()
    }

    /// A member of the administration can confirm.
    pub(in crate::policies) fn second_person_available() -> Self {
        RpcError::new(
            ErrorReason::SecondPersonAvailable,
            "The organization has a second person who can confirm the change. Ask its administration.",
        )
        .precondition("ORGANIZATION", "administration", "has a second person")
        .into()
    }

    pub(in crate::policies) fn unknown_change(id: PolicyChangeId) -> Self {
        not_found("policy_change", id).into()
    }
}
