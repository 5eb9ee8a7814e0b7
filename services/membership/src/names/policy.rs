//! Rules for correcting names: pure functions over facts of the roster.
use std::collections::BTreeSet;

use parta_access::{Decision, PermissionRule, PrincipalKind};
use parta_ids::UnitId;
use parta_roster::{MemberContext, Role};

use crate::member_records::manage;

/// Whether the caller may correct the name of a member: the administration, and for a pupil the leader of a
/// home unit who is no substitute. `home` has the home units of a pupil, and is empty for anybody else. The
/// operation decides whether the name is the caller's own.
pub(crate) fn correct(caller: &MemberContext, home: &BTreeSet<UnitId>) -> Decision {
    let is_leader = caller.is_cleared() && home.iter().any(|unit| caller.is_class_teacher_of(*unit));
    Decision::allow_if(
        caller.is_administration() || is_leader,
        "Only the administration can correct names; a class teacher can correct those of the pupils of their own class.",
    )
}

/// Whether the caller may delete the former names of a member. A class teacher may not, because the names are
/// the history of the teacher's own corrections.
pub(crate) fn seal(caller: &MemberContext) -> Decision {
    manage(caller)
}

/// Whether the caller may read former names.
pub(crate) fn list(caller: &MemberContext) -> Decision {
    manage(caller)
}

/// Whether a service may name members to this person. The service decides whom it shows.
pub(crate) fn read(caller: &MemberContext) -> Decision {
    Decision::inside_if(caller.is_active())
}

/// Whether a sample of this kind may correct the name of a pupil of the sample unit.
fn corrects_sample(kind: PrincipalKind) -> bool {
    let home = BTreeSet::from([MemberContext::sample_unit()]);
    MemberContext::sample(kind)
        .is_some_and(|facts| !facts.roles.contains(&Role::Pupil) && correct(&facts, &home).is_allowed())
}

/// The feature's rows of the permission matrix.
pub(crate) fn rules() -> Vec<PermissionRule> {
    vec![
        PermissionRule::own(
            "parta.membership.v1.MemberService/CorrectMemberName",
            corrects_sample,
        ),
        PermissionRule::own("parta.membership.v1.MemberService/ListFormerNames", |kind| {
            MemberContext::sample(kind).is_some_and(|facts| list(&facts).is_allowed())
        }),
        // A service calls it with the token of a person. Without one it may not.
        PermissionRule::own("parta.membership.internal.v1.NameService/GetNames", |_| false),
    ]
}
