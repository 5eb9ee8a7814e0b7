//! Links that a roster import wants: one single-use link for each expected member, exactly once.
use async_trait::async_trait;
use parta_access::{Caller, OrgScope, Principal, Secrets};
use parta_feed::HandleError;
use parta_ids::{InvitationId, MemberId, OrgId, RosterImportId};
use parta_proto::parta::{
    invitation::v1::{InvitationCreated, invitation_event::Payload},
    membership::v1::RosterImportStaged,
};
use parta_roster::{Change, RosterObserver};
use parta_status::RpcError;
use parta_storage::Tx;

use super::{
    convert,
    model::{DEFAULT_TTL, Draft, Invitation},
    secret::LinkSecret,
    storage as invitations,
};
use crate::error::Error;

const NAME: &str = "invitation.import";

/// Makes the links of a staged import in the transaction that moves the cursor of the roster, so once.
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
        let import = convert::stored_id::<RosterImportId>(&staged.roster_import_id)?;
        let scope = &OrgScope::for_consumer(NAME, org);
        let caller = &Caller::new(
            Principal::Service {
                name: tx.db().service().to_owned(),
            },
            NAME,
        );
        let now = tx.now();
        for wanted in &staged.invitations {
            let member = convert::stored_id::<MemberId>(&wanted.member_id)?;
            let Some(role) = convert::role_in(wanted.role()) else {
                tracing::error!(org.id = %org, import.id = %import, "an import wants a link of a role that no link gives");
                continue;
            };
            let made = Invitation {
                id: tx.env().id::<InvitationId>(),
                draft: Draft {
                    org_id: org,
                    role,
                    unit_id: None,
                    child_id: None,
                    claim_member_id: Some(member),
                    max_uses: 1,
                    ttl: DEFAULT_TTL,
                    recipient_label: String::new(),
                },
                use_count: 0,
                issuer_id: None,
                roster_import_id: Some(import),
                create_time: now,
                expire_time: now + DEFAULT_TTL,
                last_use_time: None,
                revoke_time: None,
                revision: 1,
            };
            let secret = LinkSecret::of(&self.0, made.id);
            if invitations::insert(
                tx,
                scope,
                &made,
                secret.token_digest(),
                secret.code_digest(&self.0),
            )
            .await?
            {
                parta_audit::record(tx, caller, Some(org), made.resource_name()).await?;
                let event = InvitationCreated {
                    invitation_id: made.id.to_string(),
                };
                parta_feed::append_event(tx, org, Payload::InvitationCreated(event));
            }
        }
        Ok(())
    }
}
