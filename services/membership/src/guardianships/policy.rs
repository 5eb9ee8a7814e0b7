//! Rules for seeing guardianships and deciding about them: pure functions over facts of the roster.
use std::collections::BTreeSet;

use parta_access::Decision;
use parta_ids::{MemberId, UnitId};
use parta_roster::MemberContext;

/// Whether the caller may list guardianships at all; the list holds only those that [`see`] allows.
pub(crate) fn read(caller: &MemberContext) -> Decision {
    Decision::inside_if(caller.is_active())
}

/// Whether the caller may decide about relations of a child whose home units are `home` (R27): the
/// administration, and the leader of a home unit who is no substitute. Whether the matter is the caller's own
/// is decided by [`is_own_matter`].
pub(crate) fn decide(caller: &MemberContext, child: MemberId, home: &BTreeSet<UnitId>) -> Decision {
    let is_leader = caller.is_cleared() && home.iter().any(|unit| caller.is_class_teacher_of(*unit));
    let allowed = caller.member_id != child && (caller.is_administration() || is_leader);
    Decision::allow_if(
        allowed,
        "Only the leader of the child's home unit and the administration can decide about guardianships.",
    )
}

/// Whether the caller may do what only the administration decides.
pub(crate) fn administer(caller: &MemberContext) -> Decision {
    crate::member_records::manage(caller)
}

/// Whether the student may choose what stays of a relation after the 18th birthday.
pub(crate) fn choose(caller: &MemberContext, child: MemberId) -> Decision {
    Decision::allow_if(
        caller.is_active() && caller.member_id == child,
        "Only the student can choose what the guardianship keeps.",
    )
}

/// Whether another person has to decide (F6): the caller is the guardian of the relation, or a
/// guardian of the same child.
pub(crate) fn is_own_matter(caller: MemberId, guardian: MemberId, guardians: &BTreeSet<MemberId>) -> bool {
    caller == guardian || guardians.contains(&caller)
}

/// Whether the caller may know of a relation.
pub(crate) fn see(caller: &MemberContext, guardian: MemberId, child: MemberId, decides: bool) -> bool {
    caller.is_active() && ([guardian, child].contains(&caller.member_id) || decides)
}

/// The decision of the permission matrix, about the sample child of the sample unit.
pub(crate) fn decides_sample(caller: &MemberContext, child: MemberId) -> bool {
    let home = BTreeSet::from([MemberContext::sample_unit()]);
    decide(caller, child, &home).is_allowed()
}
