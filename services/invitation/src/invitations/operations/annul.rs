//! Annulling invitations, one or by filter (R15).
use chrono::TimeDelta;
use parta_access::{Caller, OrgScope, authorize};
use parta_feed as feed;
use parta_ids::{InvitationId, OrgId, UnitId};
use parta_proto::parta::invitation::v1::{
    AnnulInvitationsResponse, InvitationRevoked, RevokeInvitationResponse, invitation_event::Payload,
};
use parta_status::RpcError;
use parta_storage::{Mutation, Tx, check_etag};

use crate::{
    context::App,
    error::Error,
    invitations::{
        convert,
        model::{Condition, Invitation, InviteRole},
        policy,
        storage::{self as invitations, Abandoned},
    },
};

const MOST_ANNULLED: u64 = 1_000;

/// Which links to annul, as asked.
#[derive(Debug, Clone)]
pub(crate) struct AnnulFilter {
    pub(crate) org_id: OrgId,
    pub(crate) condition: Condition,
    pub(crate) older_than: TimeDelta,
    pub(crate) unit_id: Option<UnitId>,
    pub(crate) role: Option<InviteRole>,
    pub(crate) dry_run: bool,
}

impl App {
    /// Annuls one invitation; again changes nothing.
    pub(crate) async fn revoke(
        &self,
        caller: &Caller,
        mutation: &Mutation,
        org: OrgId,
        id: InvitationId,
        etag: &str,
    ) -> Result<RevokeInvitationResponse, Error> {
        let facts = &self.facts(caller, org).await?;
        let response = self
            .db
            .mutate(mutation, |tx| async move {
                let (scope, found) = self.managed(&tx, caller, facts, id).await?;
                check_etag(etag, found.revision)?;
                revoke_one(&tx, caller, &scope, &found).await?;
                let now = invitations::find(&tx, &scope, id)
                    .await?
                    .ok_or(Error::Unknown(id))?;
                let invitation = Some(convert::invitation(&now, tx.now()));
                Ok::<_, Error>(RevokeInvitationResponse {
                    invitation,
                    ..Default::default()
                })
            })
            .await?;
        Ok(response)
    }

    /// Annuls what is abandoned and reports it.
    pub(crate) async fn annul(
        &self,
        caller: &Caller,
        mutation: &Mutation,
        filter: AnnulFilter,
    ) -> Result<AnnulInvitationsResponse, Error> {
        let facts = self.facts(caller, filter.org_id).await?;
        let scope = &authorize(caller, filter.org_id, policy::annul(&facts))?;
        let (filter, unused_after) = (
            &filter,
            TimeDelta::from_std(facts.policies.unused_after).map_err(RpcError::internal)?,
        );
        let response = self
            .db
            .mutate(mutation, |tx| async move {
                let now = tx.now();
                let wanted = Abandoned {
                    condition: filter.condition,
                    idle_since: now - unused_after,
                    made_before: now - filter.older_than,
                    unit_id: filter.unit_id,
                    role: filter.role,
                };
                let mut found =
                    invitations::list_abandoned(&tx, scope, &wanted, now, MOST_ANNULLED + 1).await?;
                let more = found.len() > MOST_ANNULLED as usize;
                found.truncate(MOST_ANNULLED as usize);
                if !filter.dry_run {
                    for invitation in &found {
                        revoke_one(&tx, caller, scope, invitation).await?;
                    }
                }
                let invitations = found.iter().map(|i| convert::invitation(i, now)).collect();
                Ok::<_, Error>(AnnulInvitationsResponse {
                    invitations,
                    more,
                    ..Default::default()
                })
            })
            .await?;
        Ok(response)
    }
}

async fn revoke_one(
    tx: &Tx,
    caller: &Caller,
    scope: &OrgScope,
    invitation: &Invitation,
) -> Result<(), Error> {
    if invitations::update_revoked(tx, scope, invitation.id, tx.now()).await? {
        parta_audit::record(tx, caller, Some(scope.org_id()), invitation.resource_name()).await?;
        let event = InvitationRevoked {
            invitation_id: invitation.id.to_string(),
        };
        feed::append_event(tx, scope.org_id(), Payload::InvitationRevoked(event));
    }
    Ok(())
}
