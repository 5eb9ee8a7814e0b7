//! Rules for creating expected members.
use parta_access::Decision;
use parta_ids::UnitId;
use parta_roster::{MemberContext, Role};

/// Whether the caller may create the record of an expected member.
pub(crate) fn create_member(caller: &MemberContext, role: Role, unit: Option<UnitId>) -> Decision {
    let own_pupil =
        role == Role::Pupil && caller.is_cleared() && unit.is_some_and(|u| caller.is_class_teacher_of(u));
    let any = caller.is_administration() && role != Role::Administrator;
    Decision::allow_if(
        any || own_pupil,
        "Only the administration can create expected members; a class teacher can create pupils of the own class.",
    )
}
