//! The end of revoked invitations (F8).
use std::collections::BTreeSet;

use parta_access::{OrgScope, service_scope};
use parta_database::Tx;
use parta_edge::Mutation;
use parta_ids::{InvitationId, OrgId};

use super::{
    super::{events, model::RequestState, storage},
    audit,
};
use crate::{
    context::{Context, Run},
    error::Error,
};

/// Ends the pending requests by revoked invitations, and refuses every later admission by them. Only services
/// call it.
#[derive(Debug)]
pub(crate) struct EndInvitations {
    pub(crate) org_id: OrgId,
    /// The order of the ids is the order of their locks.
    pub(crate) invitation_ids: BTreeSet<InvitationId>,
}

impl Mutation for EndInvitations {
    type Context = Context;
    type Grant = OrgScope;
    type Outcome = ();
    type View = ();
    type Error = Error;

    async fn authorize(&self, run: Run<'_>) -> Result<OrgScope, Error> {
        Ok(service_scope(run.caller, self.org_id)?)
    }

    async fn act(&self, run: Run<'_>, scope: &OrgScope) -> Result<(), Error> {
        let Run { tx, caller, .. } = run;
        for invitation in &self.invitation_ids {
            storage::lock_invitation(tx, *invitation, true).await?;
            storage::insert_ended(tx, scope, *invitation, tx.now()).await?;
            for mut row in storage::lock_pending_by(tx, scope, *invitation).await? {
                row.state = RequestState::InvitationRevoked;
                row.decide_time = Some(tx.now());
                storage::update(tx, scope, &row).await?;
                events::decided(tx, &row).await?;
                audit(tx, caller, self.org_id, row.id).await?;
            }
        }
        Ok(())
    }

    async fn view(&self, _: Run<'_>, _: &OrgScope, (): &()) -> Result<(), Error> {
        Ok(())
    }
}

/// Refuses an invitation that has ended. It does not end before this transaction does.
pub(crate) async fn require_not_ended(
    tx: &Tx,
    scope: &OrgScope,
    invitation: InvitationId,
) -> Result<(), Error> {
    storage::lock_invitation(tx, invitation, false).await?;
    if storage::is_ended(tx, scope, invitation).await? {
        return Err(Error::invitation_ended());
    }
    Ok(())
}
