//! Refusals of guardianships.
use parta_proto_membership::v1::ErrorReason;

use crate::error::Error;

impl Error {
    /// The child of a guardianship is not a pupil of the organization.
    pub(super) fn child_unknown() -> Self {
        Self::state(
            ErrorReason::ChildUnknown,
            "The child is not a pupil of the organization. Choose another child, or ask for another link.",
        )
    }

    /// The guardian of a proposed relation does not have the role.
    pub(super) fn not_a_parent() -> Self {
        Self::state(
            ErrorReason::NotAParent,
            "The member does not have the role of a parent. Change the roles first.",
        )
    }

    /// A provisional end of the relation waits for a decision.
    pub(super) fn relation_limited() -> Self {
        Self::state(
            ErrorReason::RelationLimited,
            "The relation was ended provisionally. Decide about the limit first.",
        )
    }

    /// An order ended the relation, and the request has no newer one.
    pub(super) fn relation_ended_by_order() -> Self {
        Self::state(
            ErrorReason::RelationEndedByOrder,
            "An order ended the relation. Only the administration renews it, with a newer order.",
        )
    }

    /// The student is too young to choose.
    pub(super) fn choice_not_open() -> Self {
        Self::state(
            ErrorReason::ChoiceNotOpen,
            "The choice opens 60 days before the 18th birthday.",
        )
    }
}
