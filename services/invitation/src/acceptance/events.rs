//! Events of acceptances in the service's feed.
use parta_database::{StorageError, Tx};
use parta_ids::{InvitationId, MemberId, OrgId};
use parta_proto_invitation::v1::{InvitationUsed, invitation_event::Payload};

use super::storage;

fn usage(invitation: InvitationId, member: MemberId) -> Payload {
    Payload::InvitationUsed(InvitationUsed {
        invitation_id: invitation.to_string(),
        member_id: member.to_string(),
    })
}

pub(super) fn used(tx: &Tx, org: OrgId, invitation: InvitationId, member: MemberId) {
    parta_feed::append_event(tx, org, usage(invitation, member));
}

/// Events that build the present uses from nothing.
pub(crate) async fn snapshot(tx: &Tx, org: OrgId) -> Result<Vec<Payload>, StorageError> {
    let used = storage::list_for_snapshot(tx, org).await?;
    Ok(used
        .into_iter()
        .map(|(invitation, member)| usage(invitation, member))
        .collect())
}
