//! Rules for seeing guardianships and deciding about them: pure functions over facts of the roster.
use parta_access::Decision;
use parta_ids::MemberId;
use parta_roster::MemberContext;

/// Whether the caller may list guardianships at all; the list holds only those that [`see`] allows.
pub(crate) fn read(caller: &MemberContext) -> Decision {
    Decision::inside_if(caller.is_active())
}

/// Whether the caller may confirm or end relations of guardians with this child (R27). Whether a given
/// relation is the caller's own is decided by [`decide_about`].
pub(crate) fn decide(caller: &MemberContext, child: &MemberContext) -> Decision {
    let class_teacher =
        caller.is_cleared() && child.enrolled_in.iter().any(|u| caller.is_class_teacher_of(*u));
    let allowed = caller.member_id != child.member_id && (caller.is_administration() || class_teacher);
    Decision::allow_if(
        allowed,
        "Only the class teacher of the child and the administration can decide about guardianships.",
    )
}

/// Whether the caller may confirm or end the relation of this guardian with this child. A class teacher who
/// is a parent does not confirm being one.
pub(crate) fn decide_about(caller: &MemberContext, guardian: MemberId, child: &MemberContext) -> Decision {
    if guardian == caller.member_id && !caller.is_administration() {
        return Decision::allow_if(false, "Nobody can decide about a guardianship of their own.");
    }
    decide(caller, child)
}

/// Whether the caller may know of a relation.
pub(crate) fn see(caller: &MemberContext, guardian: MemberId, child: &MemberContext) -> bool {
    caller.is_active()
        && ([guardian, child.member_id].contains(&caller.member_id) || decide(caller, child).is_allowed())
}
