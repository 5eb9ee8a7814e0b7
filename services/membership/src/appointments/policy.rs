//! The rules for appointments: an account claims its own ones, and the service org-registry makes them.
use parta_access::{PermissionRule, PrincipalKind};

/// The feature's rows of the permission matrix.
pub(crate) fn rules() -> Vec<PermissionRule> {
    let is_account = |kind| kind == PrincipalKind::Account;
    vec![
        PermissionRule::everywhere(
            "parta.membership.v1.AppointmentService/ListAppointments",
            is_account,
        ),
        PermissionRule::own(
            "parta.membership.v1.AppointmentService/ClaimAppointment",
            is_account,
        ),
        PermissionRule::own(
            "parta.membership.internal.v1.AdmissionService/AppointFoundingAdministrator",
            |kind| kind == PrincipalKind::Service,
        ),
    ]
}
