//! Events of invitations in the service's feed.
use parta_database::{StorageError, Tx};
use parta_feed::append_event;
use parta_ids::{InvitationId, OrgId};
use parta_proto_invitation::v1::{InvitationCreated, InvitationRevoked, invitation_event::Payload};
use parta_proto_membership::v1::Role;

use super::{
    model::{Invitation, InviteRole},
    storage,
};

fn creation(id: InvitationId) -> Payload {
    Payload::InvitationCreated(InvitationCreated {
        invitation_id: id.to_string(),
    })
}

fn revocation(id: InvitationId) -> Payload {
    Payload::InvitationRevoked(InvitationRevoked {
        invitation_id: id.to_string(),
    })
}

pub(super) fn created(tx: &Tx, invitation: &Invitation) {
    append_event(tx, invitation.draft.org_id, creation(invitation.id));
}

pub(super) fn revoked(tx: &Tx, invitation: &Invitation) {
    append_event(tx, invitation.draft.org_id, revocation(invitation.id));
}

/// Events that build the present invitations from nothing.
pub(crate) async fn snapshot(tx: &Tx, org: OrgId) -> Result<Vec<Payload>, StorageError> {
    let mut events = Vec::new();
    for invitation in storage::list_for_snapshot(tx, org).await? {
        events.push(creation(invitation.id));
        if invitation.revoke_time.is_some() {
            events.push(revocation(invitation.id));
        }
    }
    Ok(events)
}

pub(crate) fn role_to_proto(role: InviteRole) -> Role {
    match role {
        InviteRole::Pupil => Role::Pupil,
        InviteRole::Parent => Role::Parent,
        InviteRole::Teacher => Role::Teacher,
        InviteRole::Staff => Role::Staff,
    }
}

pub(super) fn role_from_proto(role: Role) -> Option<InviteRole> {
    InviteRole::ALL.into_iter().find(|r| role_to_proto(*r) == role)
}
