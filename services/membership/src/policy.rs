//! Who may do what: pure functions over facts of the roster.
use parta_access::Decision;
use parta_ids::UnitId;
use parta_roster::{MemberContext, Role};

/// Whom of the members somebody sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Visibility {
    /// Everybody.
    Everybody,
    /// Staff alone: a teacher who is not verified learns nothing of minors (R22).
    Staff,
    /// The people of the own units, and oneself.
    OwnUnits,
}

/// Whether the caller may read members at all, and whom (R28).
pub fn sight(facts: &MemberContext) -> Option<Visibility> {
    if !facts.is_active() {
        return None;
    }
    Some(match (facts.is_staff(), facts.may_meet_minors()) {
        (true, true) => Visibility::Everybody,
        (true, false) => Visibility::Staff,
        (false, _) => Visibility::OwnUnits,
    })
}

/// Whether the caller may make the record of somebody expected.
pub fn create_member(facts: &MemberContext, role: Role, unit: Option<UnitId>) -> Decision {
    let own_pupil =
        role == Role::Pupil && facts.may_meet_minors() && unit.is_some_and(|u| facts.is_class_teacher_of(u));
    let any = facts.is_administration() && role != Role::Administrator;
    Decision::allow_if(
        any || own_pupil,
        "the administration expects people; a class teacher pupils of the own class",
    )
}

/// Whether the caller may change roles and service accounts.
pub fn administer(facts: &MemberContext) -> Decision {
    Decision::allow_if(facts.is_administrator(), "only an administrator may do this")
}

/// Whether the caller may verify teachers, move pupils, give tasks and remove members.
pub fn manage(facts: &MemberContext) -> Decision {
    Decision::allow_if(facts.is_administration(), "only the administration may do this")
}

/// Whether the caller may remove this member: an administrator is removed by administrators alone.
pub fn remove(facts: &MemberContext, member: &MemberContext) -> Decision {
    let of_administrator = member.roles.contains(&Role::Administrator);
    let allowed = facts.is_administration() && (facts.is_administrator() || !of_administrator);
    Decision::allow_if(
        allowed,
        "the administration removes members, an administrator administrators",
    )
}
