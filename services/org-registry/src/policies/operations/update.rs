use parta_access::{OrgScope, authorize};
use parta_database::Tx;
use parta_edge::{Mutation, Query, Read, Stored};
use parta_ids::{MemberId, OrgId, PolicyChangeId};
use serde::{Deserialize, Serialize};

use super::{ShownChange, audit, etag_of_preview, has_second_person, load};
use crate::{
    context::{Context, Run},
    error::Error,
    organizations::{self, Organization},
    policies::{
        model::{PolicyChange, PolicyValue, ValueChange, differences, with_values},
        policy, storage,
    },
};

/// Returns a change that this member requests now.
fn new_change(tx: &Tx, org: OrgId, author: MemberId, values: Vec<ValueChange>) -> PolicyChange {
    PolicyChange {
        org_id: org,
        id: tx.env().id(),
        values,
        author_id: author,
        create_time: tx.now(),
        confirm_time: None,
        confirmer_id: None,
        order: None,
        drop_time: None,
        dropper_id: None,
        policies_version: None,
    }
}

/// Splits changes into those that a second person confirms and those that are applied at once.
fn split(values: Vec<ValueChange>) -> (Vec<ValueChange>, Vec<ValueChange>) {
    values.into_iter().partition(ValueChange::needs_second_person)
}

async fn show(
    tx: &Tx,
    scope: &OrgScope,
    id: Option<PolicyChangeId>,
    version: i64,
) -> Result<Option<ShownChange>, Error> {
    let Some(id) = id else { return Ok(None) };
    Ok(Some(ShownChange::new(load(tx, scope, id).await?, version)))
}

/// Returns the effects of a change without making it.
#[derive(Debug)]
pub(in crate::policies) struct PreviewPolicies {
    pub(in crate::policies) org_id: OrgId,
    /// At most one of each policy.
    pub(in crate::policies) wanted: Vec<PolicyValue>,
}

pub(in crate::policies) struct Preview {
    pub(in crate::policies) values: Vec<ValueChange>,
    pub(in crate::policies) version: i64,
    pub(in crate::policies) etag: String,
    pub(in crate::policies) operator_confirms: bool,
}

impl Query for PreviewPolicies {
    type Context = Context;
    type View = Preview;
    type Error = Error;

    async fn run(&self, run: Run<'_>) -> Result<Read<Preview>, Error> {
        let Run { context, tx, caller } = run;
        let org = self.org_id;
        let facts = context.roster.caller_context(tx, caller, org).await?;
        let scope = authorize(caller, org, policy::change(&facts))?;
        let organization = organizations::find(tx, &scope).await?;
        let organization = organization.ok_or(Error::UnknownOrganization(org))?;
        let (before, version) = (&organization.policies, organization.policies_version);
        let after = with_values(before, self.wanted.iter().copied());
        let values = differences(before, &after);
        let (waiting, _) = split(values.clone());
        let operator_confirms = !waiting.is_empty() && {
            let change = new_change(tx, org, facts.member_id, waiting);
            !has_second_person(context, tx, &change, before).await?
        };
        Ok(Read::plain(Preview {
            etag: etag_of_preview(org, version, &values),
            values,
            version,
            operator_confirms,
        }))
    }
}

/// Changes policies as previewed.
#[derive(Debug)]
pub(in crate::policies) struct UpdatePolicies {
    pub(in crate::policies) org_id: OrgId,
    /// At most one of each policy.
    pub(in crate::policies) wanted: Vec<PolicyValue>,
    pub(in crate::policies) preview_etag: String,
}

/// The outcome of UpdatePolicies.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(in crate::policies) struct UpdateOutcome {
    applied: Option<PolicyChangeId>,
    pending: Option<PolicyChangeId>,
}

impl Stored for UpdateOutcome {}

pub(in crate::policies) struct UpdatedPolicies {
    pub(in crate::policies) organization: Organization,
    pub(in crate::policies) applied: Option<ShownChange>,
    pub(in crate::policies) pending: Option<ShownChange>,
}

/// The grant to change the policies of this organization, whose row is locked.
pub(in crate::policies) struct MayChange {
    scope: OrgScope,
    author: MemberId,
    organization: Organization,
}

impl Mutation for UpdatePolicies {
    type Context = Context;
    type Grant = MayChange;
    type Outcome = UpdateOutcome;
    type View = UpdatedPolicies;
    type Error = Error;

    async fn authorize(&self, run: Run<'_>) -> Result<MayChange, Error> {
        let Run { context, tx, caller } = run;
        let facts = context.roster.caller_context(tx, caller, self.org_id).await?;
        let scope = authorize(caller, self.org_id, policy::change(&facts))?;
        let organization = organizations::lock(tx, &scope).await?;
        // The caller may have lost the right while the row was locked.
        let facts = context.roster.caller_context(tx, caller, self.org_id).await?;
        authorize(caller, self.org_id, policy::change(&facts))?;
        Ok(MayChange {
            scope,
            author: facts.member_id,
            organization,
        })
    }

    async fn act(&self, run: Run<'_>, grant: &MayChange) -> Result<UpdateOutcome, Error> {
        let Run { tx, caller, .. } = run;
        let MayChange {
            scope,
            author,
            organization,
        } = grant;
        let (org, before) = (self.org_id, &organization.policies);
        let after = with_values(before, self.wanted.iter().copied());
        let values = differences(before, &after);
        if self.preview_etag != etag_of_preview(org, organization.policies_version, &values) {
            return Err(Error::preview_stale());
        }
        let (waiting, immediate) = split(values);
        let mut outcome = UpdateOutcome {
            applied: None,
            pending: None,
        };
        if !waiting.is_empty() {
            for value in &waiting {
                if let Some(other) = storage::find_pending(tx, scope, value.path()).await? {
                    return Err(Error::change_pending(other));
                }
            }
            let change = new_change(tx, org, *author, waiting);
            storage::insert(tx, scope, &change).await?;
            audit(tx, caller, &change).await?;
            outcome.pending = Some(change.id);
        }
        if !immediate.is_empty() {
            let mut change = new_change(tx, org, *author, immediate);
            let policies = change.applied_to(before);
            let changed = organizations::replace_policies(tx, scope, organization, policies).await?;
            change.policies_version = Some(changed.policies_version);
            storage::insert(tx, scope, &change).await?;
            audit(tx, caller, &change).await?;
            outcome.applied = Some(change.id);
        }
        Ok(outcome)
    }

    async fn view(
        &self,
        run: Run<'_>,
        grant: &MayChange,
        outcome: &UpdateOutcome,
    ) -> Result<UpdatedPolicies, Error> {
        let Run { tx, .. } = run;
        let scope = &grant.scope;
        let organization = organizations::find(tx, scope).await?;
        let organization = organization.ok_or(Error::UnknownOrganization(self.org_id))?;
        let version = organization.policies_version;
        Ok(UpdatedPolicies {
            organization,
            applied: show(tx, scope, outcome.applied, version).await?,
            pending: show(tx, scope, outcome.pending, version).await?,
        })
    }
}

#[cfg(test)]
mod tests {
    use parta_ids::{TypedId as _, Uuid};

    use super::*;

    #[test]
    fn outcome_has_its_golden_form() {
        let pending = PolicyChangeId::from_uuid(Uuid::from_u128(1));
        let outcome = UpdateOutcome {
            applied: None,
            pending: Some(pending),
        };
        let form = format!("\u{1}{{\"applied\":null,\"pending\":\"{pending}\"}}");
        let stored = outcome.encode().unwrap();
        assert_eq!(stored, form.as_bytes());
        assert_eq!(UpdateOutcome::decode(&stored).unwrap(), outcome);
    }
}
