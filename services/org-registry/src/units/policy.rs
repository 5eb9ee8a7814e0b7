//! Who may do what in the registry: pure functions over facts of the roster.

use parta_access::Decision;
use parta_ids::UnitId;
use parta_roster::MemberContext;

/// Whether the caller may see the organization's data: its active members.
pub fn read_organization(facts: &MemberContext) -> Decision {
    Decision::allow_if(facts.is_active(), "only active members see the organization")
}

/// Whether the caller may change data and policies: the administrator (L29, R9).
pub fn administer(facts: &MemberContext) -> Decision {
    Decision::allow_if(
        facts.is_administrator(),
        "only the administrator changes data and policies",
    )
}

/// Whether the caller may make, rename and archive units: the administration (L31).
pub fn structure(facts: &MemberContext) -> Decision {
    Decision::allow_if(
        facts.is_administration(),
        "only the administration changes the structure",
    )
}

/// Whether the caller may list units; which ones, [`sees_unit`] tells.
pub fn list_units(facts: &MemberContext) -> Decision {
    Decision::allow_if(facts.is_active(), "only active members see units")
}

/// Whether a unit concerns the caller: staff sees all, pupils and parents their own classes. From a unit that does not
/// concern them they are not told whether it exists.
pub fn sees_unit(facts: &MemberContext, unit: UnitId) -> bool {
    facts.is_active() && (facts.is_staff() || facts.is_pupil_in(unit) || facts.is_parent_in(unit))
}
