//! The refusals of planning.
use parta_ids::{MemberId, UnitId};
use parta_proto_call_scheduling::v1::ErrorReason;

use crate::error::{Error, precondition_failed};

impl Error {
    /// The unit is archived, or calls of this kind are not held in units of its kind.
    pub(in crate::calls) fn unit_not_suitable(unit: UnitId) -> Self {
        let why = "Calls of this kind cannot be held in this unit. Choose another unit.";
        precondition_failed(ErrorReason::UnitNotSuitable, "UNIT", why)
            .meta("unit_id", unit)
            .into()
    }

    /// One adult and one pupil would meet by video.
    pub(in crate::calls) fn supervision_required() -> Self {
        let why =
            "One adult and one pupil meet by video only in a lesson or a consultation. Plan one of these.";
        precondition_failed(ErrorReason::SupervisionRequired, "PARTICIPANT", why).into()
    }

    /// The named participant does not belong to the audience.
    pub(in crate::calls) fn participant_not_concerned(member: MemberId) -> Self {
        let why = "A participant does not belong to the audience. Remove the participant.";
        precondition_failed(ErrorReason::ParticipantNotConcerned, "PARTICIPANT", why)
            .meta("member_id", member)
            .into()
    }
}
