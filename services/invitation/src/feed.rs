//! The state of the service as events, for whoever begins to follow its feed.
use parta_ids::OrgId;
use parta_proto::parta::invitation::v1::{
    InvitationCreated, InvitationRevoked, InvitationUsed, invitation_event::Payload,
};
use parta_status::RpcError;
use parta_storage::{StorageError, Tx};

use crate::{acceptance::storage as reservations, invitations::storage as invitations};

/// Events that build the present state from nothing.
pub(crate) async fn snapshot(tx: Tx, org: Option<OrgId>) -> Result<Vec<(OrgId, Payload)>, RpcError> {
    let mut events = Vec::new();
    for invitation in invitations::list_for_snapshot(&tx, org)
        .await
        .map_err(StorageError::from)?
    {
        let (org, invitation_id) = (invitation.draft.org_id, invitation.id.to_string());
        events.push((
            org,
            Payload::InvitationCreated(InvitationCreated {
                invitation_id: invitation_id.clone(),
            }),
        ));
        if invitation.revoke_time.is_some() {
            events.push((
                org,
                Payload::InvitationRevoked(InvitationRevoked { invitation_id }),
            ));
        }
    }
    for (org, invitation, member) in reservations::list_for_snapshot(&tx, org)
        .await
        .map_err(StorageError::from)?
    {
        let used = InvitationUsed {
            invitation_id: invitation.to_string(),
            member_id: member.to_string(),
        };
        events.push((org, Payload::InvitationUsed(used)));
    }
    Ok(events)
}
