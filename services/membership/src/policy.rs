//! Who may do what: pure functions over facts of the roster.
use parta_access::Decision;
use parta_roster::MemberContext;

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

/// Whether the caller may change roles and service accounts.
pub fn administer(facts: &MemberContext) -> Decision {
    Decision::allow_if(facts.is_administrator(), "only an administrator may do this")
}

/// Whether the caller may verify teachers, move pupils, give tasks and remove members.
pub fn manage(facts: &MemberContext) -> Decision {
    Decision::allow_if(facts.is_administration(), "only the administration may do this")
}
