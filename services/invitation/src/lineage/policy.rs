//! Who may see the uses of a link: those who may manage it.
use crate::{invitations::manages_sample, permissions::Rule};

/// The feature's rows of the permission matrix.
pub(crate) fn rules() -> Vec<Rule> {
    vec![Rule::own(
        "parta.invitation.v1.InvitationService/ListInvitationUses",
        manages_sample,
    )]
}
