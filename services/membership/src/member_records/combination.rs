//! The roles that one person may hold together (F7). Every way to get a role calls this module.
use std::collections::BTreeSet;

use parta_roster::Role;

/// Whether one person may hold these roles together: a pupil has no role of the staff, and is a parent only
/// as an adult student. Every other combination is permitted.
pub(crate) fn may_combine(roles: &BTreeSet<Role>, adult_student: bool) -> bool {
    let allowed = |role: &Role| match role {
        Role::Pupil => true,
        Role::Parent => adult_student,
        _ => false,
    };
    !roles.contains(&Role::Pupil) || roles.iter().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    // All pairs of roles (F7).
    #[test]
    fn pupil_has_no_other_role() {
        for a in Role::ALL {
            for b in Role::ALL {
                let pair = BTreeSet::from([a, b]);
                let with_pupil = pair.contains(&Role::Pupil) && pair.len() == 2;
                assert_eq!(may_combine(&pair, false), !with_pupil, "{pair:?}");
                let as_adult = with_pupil && !pair.contains(&Role::Parent);
                assert_eq!(may_combine(&pair, true), !as_adult, "{pair:?}");
            }
        }
    }
}
