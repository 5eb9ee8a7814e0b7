//! Rules for deciding who joins: pure functions over facts of the roster.
use std::collections::BTreeSet;

use parta_access::Decision;
use parta_ids::UnitId;
use parta_roster::{MemberContext, Role};

/// Whether the caller may read requests at all. The list holds only those that [`decide`] allows.
pub(crate) fn list(caller: &MemberContext) -> Decision {
    let leads = caller.is_cleared() && !caller.class_teacher_of.is_empty();
    Decision::allow_if(
        caller.is_administration() || (caller.is_active() && leads),
        "Only the administration and leaders of units can read requests to join.",
    )
}

/// Whether the caller may decide about a request for this role and unit (R18): the administration, and the
/// leader of a home unit about pupils and parents. `home` are the home units among the units that the caller
/// leads otherwise than as a substitute.
pub(crate) fn decide(
    caller: &MemberContext,
    role: Role,
    unit: Option<UnitId>,
    home: &BTreeSet<UnitId>,
) -> Decision {
    let is_leader = caller.is_active()
        && caller.is_cleared()
        && matches!(role, Role::Pupil | Role::Parent)
        && unit.is_some_and(|unit| caller.is_class_teacher_of(unit) && home.contains(&unit));
    Decision::allow_if(
        caller.is_administration() || is_leader,
        "Only the leader of the unit and the administration can decide about this request.",
    )
}

/// The decision of the permission matrix, about a pupil of the sample unit.
pub(crate) fn decide_sample(caller: &MemberContext) -> Decision {
    let unit = MemberContext::sample_unit();
    decide(caller, Role::Pupil, Some(unit), &BTreeSet::from([unit]))
}
