//! The rule for seeing the uses of a link: the caller must be allowed to manage the link.
use crate::invitations::manages_sample;
use parta_access::PermissionRule;

/// The feature's rows of the permission matrix.
pub(crate) fn rules() -> Vec<PermissionRule> {
    vec![PermissionRule::own(
        "parta.invitation.v1.InvitationService/ListInvitationUses",
        manages_sample,
    )]
}
