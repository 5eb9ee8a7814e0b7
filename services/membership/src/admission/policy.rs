//! The rules for admission: an account makes a join ticket, and the service invitation admits its holder.
use parta_access::{PermissionRule, PrincipalKind};

/// The feature's rows of the permission matrix.
pub(crate) fn rules() -> Vec<PermissionRule> {
    vec![
        PermissionRule::everywhere(
            "parta.membership.v1.AuthenticationService/CreateJoinTicket",
            |kind| kind == PrincipalKind::Account,
        ),
        PermissionRule::own(
            "parta.membership.internal.v1.AdmissionService/AdmitMember",
            |kind| kind == PrincipalKind::Service,
        ),
        PermissionRule::own(
            "parta.membership.internal.v1.AdmissionService/CancelAdmission",
            |kind| kind == PrincipalKind::Service,
        ),
        PermissionRule::own(
            "parta.membership.internal.v1.AdmissionService/EndInvitations",
            |kind| kind == PrincipalKind::Service,
        ),
    ]
}
