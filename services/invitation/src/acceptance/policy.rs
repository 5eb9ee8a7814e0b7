//! Who may accept an invitation (R16): the holder of a join ticket who presents the secret.
use parta_access::PrincipalKind;

use crate::permissions::Rule;

/// The feature's rows of the permission matrix.
pub(crate) fn rules() -> Vec<Rule> {
    vec![Rule::everywhere(
        "parta.invitation.v1.InvitationService/AcceptInvitation",
        |kind| kind == PrincipalKind::Joiner,
    )]
}
