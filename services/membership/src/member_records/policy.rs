//! Rules for reading members, and the rules that several features share.
use parta_access::{Decision, PrincipalKind};
use parta_roster::MemberContext;

/// The members whom a caller may see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Visibility {
    /// Everybody: the administration reads the roster.
    AllMembers,
    /// The staff, and the people of the units that the caller may see. Staff who are not cleared see no pupil
    /// by their work, but see those of their children's classes (F3, F4).
    StaffAndUnits,
    /// The people of the units that the caller may see, and oneself.
    Units,
}

/// The members whom the caller may see (R28); `None` if the caller may not read members.
pub(crate) fn visibility(caller: &MemberContext) -> Option<Visibility> {
    if !caller.is_active() {
        return None;
    }
    Some(if caller.is_administration() {
        Visibility::AllMembers
    } else if caller.is_staff() {
        Visibility::StaffAndUnits
    } else {
        Visibility::Units
    })
}

/// Whether the caller may do what only administrators do.
pub(crate) fn administer(caller: &MemberContext) -> Decision {
    Decision::allow_if(caller.is_administrator(), "Only an administrator can do this.")
}

/// Whether the caller may do what the administration does.
pub(crate) fn manage(caller: &MemberContext) -> Decision {
    Decision::allow_if(caller.is_administration(), "Only the administration can do this.")
}

/// Whether a sample of this kind may read members in the permission matrix.
pub(crate) fn reads_sample(kind: PrincipalKind) -> bool {
    kind == PrincipalKind::ServiceAccount
        || MemberContext::sample(kind).is_some_and(|facts| visibility(&facts).is_some())
}
