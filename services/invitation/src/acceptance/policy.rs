//! The rule for accepting an invitation (R16): the caller holds a join ticket and presents the secret.
use parta_access::{PermissionRule, PrincipalKind};

/// The feature's rows of the permission matrix.
pub(crate) fn rules() -> Vec<PermissionRule> {
    vec![PermissionRule::everywhere(
        "parta.invitation.v1.InvitationService/AcceptInvitation",
        |kind| kind == PrincipalKind::Joiner,
    )]
}
