//! Revoking invitations, one or by filter (R15).
use chrono::TimeDelta;
use parta_access::{Caller, OrgScope, authorize};
use parta_database::{StorageError, Tx};
use parta_edge::{Mutation, Stored};
use parta_ids::{InvitationId, OrgId, UnitId};
use parta_mutations::check_etag;
use parta_status::RpcError;
use serde::{Deserialize, Serialize};

use super::{
    super::{
        model::{Invitation, InviteRole, RevocationCondition, Shown},
        policy,
        storage::{self, RevocationFilter},
    },
    grounds::{show, show_all},
    revocation::{end_requests, revoke_link},
};
use crate::{
    context::{Context, Run},
    error::Error,
};

/// The largest number of links that one BulkRevokeInvitations revokes.
const MAX_REVOKED: usize = 1_000;

/// Revokes one invitation. Revoking a revoked one changes nothing.
#[derive(Debug)]
pub(crate) struct RevokeInvitation {
    pub(crate) org_id: OrgId,
    pub(crate) invitation_id: InvitationId,
    /// Empty if the caller does not check for concurrent changes.
    pub(crate) etag: String,
}

/// The proof that the caller may revoke this invitation, whose row is locked.
pub(crate) struct MayRevoke {
    scope: OrgScope,
    invitation: Invitation,
}

/// The outcome of a revocation, stored for repetitions.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Revoked {
    invitation_id: InvitationId,
}

impl Stored for Revoked {}

impl Mutation for RevokeInvitation {
    type Context = Context;
    type Grant = MayRevoke;
    type Outcome = Revoked;
    type View = Shown;
    type Error = Error;

    async fn authorize(&self, run: Run<'_>) -> Result<MayRevoke, Error> {
        let Run { context, tx, caller } = run;
        let (org, id) = (self.org_id, self.invitation_id);
        let facts = context.roster.caller_context(tx, caller, org).await?;
        let scope = authorize(caller, org, policy::list(&facts))?;
        let invitation = storage::lock(tx, &scope, id).await?.ok_or(Error::Unknown(id))?;
        Ok(MayRevoke {
            scope: authorize(caller, org, policy::manage(&facts, &invitation))?,
            invitation,
        })
    }

    async fn act(&self, run: Run<'_>, grant: &MayRevoke) -> Result<Revoked, Error> {
        check_etag(&self.etag, grant.invitation.revision)?;
        revoke(
            run.tx,
            run.caller,
            &grant.scope,
            std::slice::from_ref(&grant.invitation),
        )
        .await?;
        Ok(Revoked {
            invitation_id: grant.invitation.id,
        })
    }

    async fn view(&self, run: Run<'_>, grant: &MayRevoke, outcome: &Revoked) -> Result<Shown, Error> {
        let Run { context, tx, .. } = run;
        let id = outcome.invitation_id;
        let invitation = storage::find(tx, &grant.scope, id).await?;
        show(context, tx, invitation.ok_or(Error::Unknown(id))?).await
    }
}

/// Revokes the links that match, or only lists them.
#[derive(Debug)]
pub(crate) struct BulkRevokeInvitations {
    pub(crate) org_id: OrgId,
    pub(crate) condition: RevocationCondition,
    /// Only links that were created at least this long ago.
    pub(crate) older_than: TimeDelta,
    pub(crate) unit_id: Option<UnitId>,
    pub(crate) role: Option<InviteRole>,
    /// Lists the links and revokes none.
    pub(crate) dry_run: bool,
}

/// The proof that the caller may revoke links by filter.
pub(crate) struct MayBulkRevoke {
    scope: OrgScope,
    unused_after: TimeDelta,
}

/// The outcome of a revocation by filter, stored for repetitions.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct RevokedIds {
    invitation_ids: Vec<InvitationId>,
    more: bool,
}

impl Stored for RevokedIds {}

pub(crate) struct RevokedInvitations {
    pub(crate) invitations: Vec<Shown>,
    /// Whether more links match than one call revokes.
    pub(crate) more: bool,
}

impl Mutation for BulkRevokeInvitations {
    type Context = Context;
    type Grant = MayBulkRevoke;
    type Outcome = RevokedIds;
    type View = RevokedInvitations;
    type Error = Error;

    async fn authorize(&self, run: Run<'_>) -> Result<MayBulkRevoke, Error> {
        let Run { context, tx, caller } = run;
        let facts = context.roster.caller_context(tx, caller, self.org_id).await?;
        Ok(MayBulkRevoke {
            scope: authorize(caller, self.org_id, policy::bulk_revoke(&facts))?,
            unused_after: TimeDelta::from_std(facts.policies.unused_after).map_err(RpcError::internal)?,
        })
    }

    async fn act(&self, run: Run<'_>, grant: &MayBulkRevoke) -> Result<RevokedIds, Error> {
        let Run { tx, caller, .. } = run;
        let now = tx.now();
        let filter = RevocationFilter {
            condition: self.condition,
            idle_since: now - grant.unused_after,
            created_before: now - self.older_than,
            unit_id: self.unit_id,
            role: self.role,
        };
        let limit = MAX_REVOKED as u64 + 1;
        let mut found = storage::list_revocable(tx, &grant.scope, &filter, now, limit).await?;
        let more = found.len() > MAX_REVOKED;
        found.truncate(MAX_REVOKED);
        if !self.dry_run {
            revoke(tx, caller, &grant.scope, &found).await?;
        }
        Ok(RevokedIds {
            invitation_ids: found.iter().map(|invitation| invitation.id).collect(),
            more,
        })
    }

    async fn view(
        &self,
        run: Run<'_>,
        grant: &MayBulkRevoke,
        outcome: &RevokedIds,
    ) -> Result<RevokedInvitations, Error> {
        let Run { context, tx, .. } = run;
        let found = storage::list_by_ids(tx, &grant.scope, &outcome.invitation_ids).await?;
        Ok(RevokedInvitations {
            invitations: show_all(context, tx, found).await?,
            more: outcome.more,
        })
    }
}

/// Revokes links, and ends the requests by them. A repeated revocation ends them again, because the first end
/// may not have reached membership.
pub(in crate::invitations) async fn revoke(
    tx: &Tx,
    caller: &Caller,
    scope: &OrgScope,
    links: &[Invitation],
) -> Result<(), StorageError> {
    for link in links {
        if revoke_link(tx, scope, link).await? {
            parta_audit::record(tx, caller, Some(scope.org_id()), link.resource_name()).await?;
        }
    }
    let ids: Vec<InvitationId> = links.iter().map(|link| link.id).collect();
    end_requests(tx, scope, &ids).await
}

#[cfg(test)]
mod tests {
    use parta_ids::{TypedId as _, Uuid};

    use super::*;

    #[test]
    fn outcomes_have_their_golden_forms() {
        let id = InvitationId::from_uuid(Uuid::from_u128(9));
        let stored = Revoked { invitation_id: id }.encode().unwrap();
        assert_eq!(stored, format!("\u{1}{{\"invitation_id\":\"{id}\"}}").as_bytes());
        let revoked = RevokedIds {
            invitation_ids: vec![id],
            more: true,
        };
        let stored = revoked.encode().unwrap();
        assert_eq!(
            stored,
            format!("\u{1}{{\"invitation_ids\":[\"{id}\"],\"more\":true}}").as_bytes()
        );
        assert_eq!(RevokedIds::decode(&stored).unwrap(), revoked);
    }
}
