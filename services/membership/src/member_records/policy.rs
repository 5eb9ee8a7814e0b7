//! Rules for reading members, and the rules that several features share.
use parta_access::Decision;
use parta_roster::MemberContext;

/// The members whom a caller may see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Visibility {
    AllMembers,
    /// Only staff: a teacher who is not verified learns nothing of minors (R22).
    Staff,
    /// The people of the own units, and oneself.
    OwnUnits,
}

/// The members whom the caller may see (R28); `None` if the caller may not read members.
pub(crate) fn visibility(caller: &MemberContext) -> Option<Visibility> {
    if !caller.is_active() {
        return None;
    }
    Some(match (caller.is_staff(), caller.may_meet_minors()) {
        (true, true) => Visibility::AllMembers,
        (true, false) => Visibility::Staff,
        (false, _) => Visibility::OwnUnits,
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
