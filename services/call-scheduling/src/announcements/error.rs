//! The refusals of announcements.
use parta_ids::UnitId;
use parta_proto_call_scheduling::v1::ErrorReason;

use crate::error::{Error, precondition_failed};

impl Error {
    /// No chat of the audience has a reader.
    pub(in crate::announcements) fn reaches_nobody(unit: UnitId) -> Self {
        let why = "Nobody reads the chats of the audience of this call yet. Inform the people yourself.";
        precondition_failed(ErrorReason::AnnouncementReachesNobody, "UNIT", why)
            .meta("unit_id", unit)
            .into()
    }
}
