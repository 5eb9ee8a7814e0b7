//! The refusals of links and their creation.
use parta_ids::{MemberId, UnitId};
use parta_proto_invitation::v1::ErrorReason;
use parta_status::RpcError;

use super::{State, model::Stop};
use crate::error::Error;

impl Error {
    /// The unit is archived, or members of this role do not join units of its kind.
    pub(in crate::invitations) fn unit_not_suitable(unit: UnitId) -> Self {
        RpcError::new(
            ErrorReason::UnitNotSuitable,
            "People in this role cannot join the unit. Choose another unit.",
        )
        .precondition("UNIT", unit, "archived or of another kind")
        .meta("unit_id", unit)
        .into()
    }

    /// The child is not a pupil of the unit.
    pub(in crate::invitations) fn child_not_in_unit(child: MemberId) -> Self {
        RpcError::new(
            ErrorReason::ChildNotInUnit,
            "The child is not a pupil of the unit. Choose another child or unit.",
        )
        .precondition("CHILD", child, "not enrolled in the unit")
        .meta("child_id", child)
        .into()
    }

    /// The member is not expected in this role, so the record cannot be claimed.
    pub(in crate::invitations) fn member_not_expected(member: MemberId) -> Self {
        RpcError::new(
            ErrorReason::MemberNotExpected,
            "The record does not belong to an expected member in this role. Create the link without it.",
        )
        .precondition("MEMBER", member, "not expected in this role")
        .meta("member_id", member)
        .into()
    }

    /// The link does not work, because what it rests on is gone.
    pub(in crate::invitations) fn ground_gone(stop: Stop) -> Self {
        RpcError::new(
            ErrorReason::LinkGroundGone,
            "The invitation rests on something that is gone. Adopt it, or create a new one.",
        )
        .precondition("INVITATION", "invitation", stop.text())
        .meta("stop", stop.text())
        .into()
    }

    /// The link can no longer be used.
    pub(in crate::invitations) fn closed(state: State) -> Self {
        RpcError::new(
            ErrorReason::InvitationClosed,
            "The invitation can no longer be used. Create a new one.",
        )
        .precondition("INVITATION", "invitation", state.text())
        .meta("state", state.text())
        .into()
    }
}
