//! The permission matrix of the service, computed by the policies of its features (`docs/permissions.md`).
use parta_access::{Permission, permission_rows};

use crate::{
    acting_heads, admission, appointments, assembly, assignments, contact_changes, delivery, departures,
    duties, enrollments, guardianships, join_requests, members, names, one_time_codes, revocations, roles,
    roster_import, service_accounts, sessions, sign_in, suspensions,
};

/// One row for each RPC and kind of principal.
pub fn permissions() -> Vec<Permission> {
    let rules = [
        delivery::rules(),
        sign_in::rules(),
        sessions::rules(),
        contact_changes::rules(),
        assignments::rules(),
        enrollments::rules(),
        guardianships::rules(),
        one_time_codes::rules(),
        suspensions::rules(),
        duties::rules(),
        acting_heads::rules(),
        roles::rules(),
        departures::rules(),
        join_requests::rules(),
        admission::rules(),
        appointments::rules(),
        names::rules(),
        members::rules(),
        service_accounts::rules(),
        revocations::rules(),
        roster_import::rules(),
        assembly::common_rules(),
    ];
    permission_rows(rules.into_iter().flatten())
}
