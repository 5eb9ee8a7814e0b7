//! Keeping invitations: adopting them, so that they do not stop with their issuer, and extending them.
use std::collections::BTreeMap;

use chrono::TimeDelta;
use parta_access::{OrgScope, authorize};
use parta_database::Tx;
use parta_edge::{Mutation, Stored};
use parta_ids::{InvitationId, MemberId, OrgId};
use serde::{Deserialize, Serialize};

use super::{
    super::{
        model::{Invitation, Shown, State},
        policy, storage,
    },
    grounds::{show_all, stop_of},
};
use crate::{
    context::{Context, Run},
    error::Error,
};

/// The outcome of AdoptInvitations and ExtendInvitations.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct ChangedInvitations {
    invitation_ids: Vec<InvitationId>,
}

impl Stored for ChangedInvitations {}

/// The proof that the caller may change these invitations, whose rows are locked.
pub(crate) struct MayKeep {
    scope: OrgScope,
    caller_id: MemberId,
    invitations: BTreeMap<InvitationId, Invitation>,
}

/// Locks the invitations in the order of their ids.
async fn lock(tx: &Tx, scope: &OrgScope, ids: &[InvitationId]) -> Result<Vec<Invitation>, Error> {
    let mut sorted = ids.to_vec();
    sorted.sort();
    let mut locked = Vec::with_capacity(ids.len());
    for id in sorted {
        locked.push(storage::lock(tx, scope, id).await?.ok_or(Error::Unknown(id))?);
    }
    Ok(locked)
}

/// The act that keeps invitations.
#[derive(Debug)]
pub(crate) enum Keep {
    /// Makes the caller the issuer of invitations that the caller could create.
    Adopt,
    /// Sets a new expiry: the lifetime from now on. A link that names nobody lives for at most 14 days of it.
    Extend(TimeDelta),
}

/// Adopts or extends invitations: all of them, or none.
#[derive(Debug)]
pub(crate) struct KeepInvitations {
    pub(crate) org_id: OrgId,
    /// At least one, each once.
    pub(crate) invitation_ids: Vec<InvitationId>,
    pub(crate) keep: Keep,
}

impl Mutation for KeepInvitations {
    type Context = Context;
    type Grant = MayKeep;
    type Outcome = ChangedInvitations;
    type View = Vec<Shown>;
    type Error = Error;

    async fn authorize(&self, run: Run<'_>) -> Result<MayKeep, Error> {
        let Run { context, tx, caller } = run;
        let facts = context.roster.caller_context(tx, caller, self.org_id).await?;
        let scope = authorize(caller, self.org_id, policy::list(&facts))?;
        let mut invitations = BTreeMap::new();
        for found in lock(tx, &scope, &self.invitation_ids).await? {
            let decision = match self.keep {
                Keep::Adopt => policy::create(&facts, found.draft.role, found.draft.unit_id),
                Keep::Extend(_) => policy::manage(&facts, &found),
            };
            authorize(caller, self.org_id, decision)?;
            invitations.insert(found.id, found);
        }
        Ok(MayKeep {
            scope,
            caller_id: facts.member_id,
            invitations,
        })
    }

    async fn act(&self, run: Run<'_>, grant: &MayKeep) -> Result<ChangedInvitations, Error> {
        let Run { context, tx, caller } = run;
        let now = tx.now();
        for invitation in grant.invitations.values() {
            // An expired link is adopted before it is extended.
            match invitation.state(now) {
                State::Active | State::Expired => {}
                closed => return Err(Error::closed(closed)),
            }
            match self.keep {
                Keep::Adopt if invitation.issuer_id == Some(grant.caller_id) => continue,
                Keep::Adopt => {
                    storage::update_issuer(tx, &grant.scope, invitation.id, grant.caller_id).await?;
                }
                Keep::Extend(ttl) => {
                    if let Some(stop) = stop_of(context, tx, invitation).await? {
                        return Err(Error::ground_gone(stop));
                    }
                    let ttl = ttl.min(invitation.draft.ttl_max());
                    storage::update_expiry(tx, &grant.scope, invitation.id, now + ttl).await?;
                }
            }
            parta_audit::record(tx, caller, Some(self.org_id), invitation.resource_name()).await?;
        }
        Ok(ChangedInvitations {
            invitation_ids: self.invitation_ids.clone(),
        })
    }

    /// Returns the invitations in the order in which the request named them.
    async fn view(
        &self,
        run: Run<'_>,
        grant: &MayKeep,
        outcome: &ChangedInvitations,
    ) -> Result<Vec<Shown>, Error> {
        let ids = &outcome.invitation_ids;
        let found = storage::list_by_ids(run.tx, &grant.scope, ids).await?;
        let shown = show_all(run.context, run.tx, found).await?;
        let mut by_id: BTreeMap<_, _> = shown.into_iter().map(|one| (one.invitation.id, one)).collect();
        ids.iter()
            .map(|id| by_id.remove(id).ok_or(Error::Unknown(*id)))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use parta_ids::{TypedId as _, Uuid};

    use super::*;

    #[test]
    fn outcome_has_its_golden_form() {
        let kept = ChangedInvitations {
            invitation_ids: vec![InvitationId::from_uuid(Uuid::from_u128(9))],
        };
        let stored = kept.encode().unwrap();
        let form = format!(
            "\u{1}{{\"invitation_ids\":[\"{}\"]}}",
            InvitationId::from_uuid(Uuid::from_u128(9))
        );
        assert_eq!(stored, form.as_bytes());
        assert_eq!(ChangedInvitations::decode(&stored).unwrap(), kept);
    }
}
