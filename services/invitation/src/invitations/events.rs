//! Events of invitations in the service's feed, and the roster imports that create links.
use async_trait::async_trait;
use parta_access::{OrgScope, Secrets};
use parta_database::{StorageError, Tx};
use parta_feed::{HandleError, append_event};
use parta_ids::{InvitationId, OrgId, RosterImportId, TypedId};
use parta_proto_invitation::v1::{InvitationCreated, InvitationRevoked, invitation_event::Payload};
use parta_proto_membership::v1::{Role, RosterImportStaged};
use parta_roster::{Change, RosterObserver};
use parta_status::RpcError;

use super::{
    model::{Invitation, InviteRole},
    operations, storage,
};
use crate::error::Error;

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
pub(crate) async fn snapshot(tx: &Tx, org: Option<OrgId>) -> Result<Vec<(OrgId, Payload)>, StorageError> {
    let mut events = Vec::new();
    for invitation in storage::list_for_snapshot(tx, org).await? {
        let org = invitation.draft.org_id;
        events.push((org, creation(invitation.id)));
        if invitation.revoke_time.is_some() {
            events.push((org, revocation(invitation.id)));
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

/// Creates the links of a staged roster import in the transaction that moves the cursor of the roster.
pub(crate) struct ImportObserver(pub(crate) Secrets);

#[async_trait]
impl RosterObserver for ImportObserver {
    async fn changed(&self, tx: &Tx, org_id: OrgId, change: &Change) -> Result<(), HandleError> {
        let Change::RosterImportStaged(staged) = change else {
            return Ok(());
        };
        self.stage(tx, org_id, staged).await.map_err(|error| match error {
            Error::Storage(error) => error.into(),
            other => RpcError::from(other).into(),
        })
    }
}

impl ImportObserver {
    async fn stage(&self, tx: &Tx, org: OrgId, staged: &RosterImportStaged) -> Result<(), Error> {
        let import: RosterImportId = event_id(&staged.roster_import_id)?;
        let scope = &OrgScope::for_consumer(operations::IMPORT, org);
        for expected in &staged.invitations {
            let Some(role) = role_from_proto(expected.role()) else {
                tracing::error!(org.id = %org, import.id = %import, "staged import names a role that links do not give");
                continue;
            };
            let member = event_id(&expected.member_id)?;
            operations::create_imported(tx, &self.0, scope, import, member, role).await?;
        }
        Ok(())
    }
}

/// Parses an id of an event of membership.
fn event_id<T: TypedId>(text: &str) -> Result<T, RpcError> {
    text.parse()
        .map_err(|error| RpcError::internal(format!("`{text}` is not a {} id: {error}", T::PREFIX)))
}
