//! The refusals of units.
use parta_ids::UnitId;
use parta_proto_org_registry::v1::ErrorReason;
use parta_status::{RpcError, not_found};

use crate::error::Error;

impl Error {
    /// Another unit has the label.
    pub(in crate::units) fn label_taken(unit: UnitId) -> Self {
        RpcError::new(
            ErrorReason::UnitLabelTaken,
            "Another unit of this kind has this label. Choose another label.",
        )
        .resource("unit", unit)
        .meta("unit_id", unit)
        .into()
    }

    pub(in crate::units) fn archived(unit: UnitId) -> Self {
        RpcError::new(ErrorReason::UnitArchived, "The unit is archived.")
            .precondition("UNIT", unit, "archived")
            .into()
    }

    /// The staff room cannot be renamed or archived.
    pub(in crate::units) fn staff_room_fixed() -> Self {
        RpcError::new(
            ErrorReason::StaffRoomFixed,
            "The staff room cannot be renamed or archived.",
        )
        .precondition("UNIT", "staff room", "created with the organization")
        .into()
    }

    /// Such an organization has no units of this kind.
    pub(in crate::units) fn kind_not_offered() -> Self {
        RpcError::new(
            ErrorReason::UnitKindNotOffered,
            "A partner organization has no classes and groups.",
        )
        .precondition("ORGANIZATION", "kind", "partner")
        .into()
    }

    /// The unit does not exist, or the caller may not see it.
    pub(in crate::units) fn unknown_unit(id: UnitId) -> Self {
        not_found("unit", id).into()
    }
}
