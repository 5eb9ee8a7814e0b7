//! Permissions to see and change units: pure functions over facts of the roster.
use parta_access::{Decision, PermissionRule};
use parta_ids::UnitId;
use parta_roster::MemberContext;

use crate::context::Reader;

/// Whether the caller may create, rename and archive units: the administration.
pub(super) fn change(facts: &MemberContext) -> Decision {
    Decision::allow_if(
        facts.is_administration(),
        "Only the administration can create, rename and archive units.",
    )
}

/// Whether the caller may list units: active members and service accounts. [`may_see`] decides about each
/// unit.
pub(super) fn list(reader: &Reader) -> Decision {
    match reader {
        Reader::Member(facts) => Decision::allow_if(facts.is_active(), "Only active members can see units."),
        Reader::ServiceAccount => Decision::Allow,
        Reader::Operator => Decision::Outside,
    }
}

/// Whether the caller may see a unit: staff and service accounts may see all units, pupils and parents only
/// their own classes. Other callers must not learn whether the unit exists.
pub(super) fn may_see(reader: &Reader, unit: UnitId) -> bool {
    match reader {
        Reader::Member(facts) => {
            facts.is_active() && (facts.is_staff() || facts.is_pupil_in(unit) || facts.is_parent_in(unit))
        }
        Reader::ServiceAccount => true,
        Reader::Operator => false,
    }
}

/// Returns the units that the caller may see; `None` for all units.
pub(super) fn visible(reader: &Reader) -> Option<Vec<UnitId>> {
    let Reader::Member(facts) = reader else {
        return None;
    };
    if facts.is_staff() {
        return None;
    }
    let units = facts.units().into_iter();
    Some(units.filter(|unit| may_see(reader, *unit)).collect())
}

/// The feature's rows of the permission matrix.
pub(crate) fn rules() -> Vec<PermissionRule> {
    let changes = |kind| MemberContext::sample(kind).is_some_and(|facts| change(&facts).is_allowed());
    vec![
        PermissionRule::own("parta.org_registry.v1.UnitService/CreateUnit", changes),
        PermissionRule::own("parta.org_registry.v1.UnitService/GetUnit", |kind| {
            Reader::sample(kind).is_some_and(|reader| may_see(&reader, MemberContext::sample_unit()))
        }),
        PermissionRule::own("parta.org_registry.v1.UnitService/ListUnits", |kind| {
            Reader::sample(kind).is_some_and(|reader| list(&reader).is_allowed())
        }),
        PermissionRule::own("parta.org_registry.v1.UnitService/RenameUnit", changes),
        PermissionRule::own("parta.org_registry.v1.UnitService/ArchiveUnit", changes),
    ]
}
