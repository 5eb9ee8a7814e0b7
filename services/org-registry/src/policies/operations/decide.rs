use parta_access::{Caller, OrgScope, Principal, authorize};
use parta_database::Tx;
use parta_edge::{Mutation, Stored};
use parta_ids::{MemberId, OrgId, PolicyChangeId};
use parta_status::{RpcError, invalid};
use serde::{Deserialize, Serialize};

use super::{ShownChange, audit, etag_of_change, has_second_person, load};
use crate::{
    context::{Context, Run},
    error::Error,
    organizations::{self, Organization},
    policies::{
        model::{ChangeState, Order, PolicyChange},
        policy, storage,
    },
};

/// The outcome of a decision about a change.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(in crate::policies) struct DecideOutcome {
    policy_change_id: PolicyChangeId,
}

impl Stored for DecideOutcome {}

/// The grant to decide about this change. The row of the organization is locked, and with it all changes of
/// its policies.
pub(in crate::policies) struct MayDecide {
    scope: OrgScope,
    /// `None` for the operator.
    decider: Option<MemberId>,
    organization: Organization,
    change: PolicyChange,
}

impl MayDecide {
    /// Authorizes the operator.
    async fn operator(tx: &Tx, caller: &Caller, org: OrgId, id: PolicyChangeId) -> Result<Self, Error> {
        let scope = authorize(caller, org, policy::confirm_as_operator())?;
        let organization = organizations::lock(tx, &scope).await?;
        Ok(Self {
            decider: None,
            organization,
            change: load(tx, &scope, id).await?,
            scope,
        })
    }

    /// Authorizes a member. `confirms` says whether the member confirms and therefore is a second person.
    async fn member(run: Run<'_>, (org, id): (OrgId, PolicyChangeId), confirms: bool) -> Result<Self, Error> {
        let Run { context, tx, caller } = run;
        let facts = context.roster.caller_context(tx, caller, org).await?;
        let scope = authorize(caller, org, policy::decide(&facts))?;
        let organization = organizations::lock(tx, &scope).await?;
        // The caller may have lost the right while the row was locked.
        let facts = context.roster.caller_context(tx, caller, org).await?;
        authorize(caller, org, policy::decide(&facts))?;
        let change = load(tx, &scope, id).await?;
        let after = change.applied_to(&organization.policies);
        if confirms && !policy::is_second_person(&facts, change.author_id, &after) {
            return Err(Error::second_person_required());
        }
        Ok(Self {
            decider: Some(facts.member_id),
            organization,
            change,
            scope,
        })
    }

    /// Refuses if the change was applied or dropped.
    fn require_pending(&self) -> Result<(), Error> {
        match self.change.state() {
            ChangeState::Pending => Ok(()),
            decided => Err(Error::change_decided(self.change.id, decided)),
        }
    }
}

/// Applies a pending change as a second person.
#[derive(Debug)]
pub(in crate::policies) struct ConfirmPolicyChange {
    pub(in crate::policies) org_id: OrgId,
    pub(in crate::policies) change_id: PolicyChangeId,
    pub(in crate::policies) preview_etag: String,
    pub(in crate::policies) order: Option<Order>,
}

pub(in crate::policies) struct ConfirmedChange {
    pub(in crate::policies) organization: Organization,
    pub(in crate::policies) shown: ShownChange,
}

impl ConfirmPolicyChange {
    /// Refuses an order that the operator lacks or a member adds, and one whose date has not come.
    fn check_order(&self, tx: &Tx, grant: &MayDecide) -> Result<(), Error> {
        let is_operator = grant.decider.is_none();
        match &self.order {
            None if is_operator => Err(Error::order_required()),
            Some(_) if !is_operator => Err(invalid("order", "is for the operator").into()),
            Some(order) => {
                let zone: chrono_tz::Tz = grant.organization.time_zone.parse().map_err(RpcError::internal)?;
                let today = tx.now().with_timezone(&zone).date_naive();
                if order.date > today {
                    return Err(invalid("order.date", "must not be in the future").into());
                }
                Ok(())
            }
            None => Ok(()),
        }
    }
}

impl Mutation for ConfirmPolicyChange {
    type Context = Context;
    type Grant = MayDecide;
    type Outcome = DecideOutcome;
    type View = ConfirmedChange;
    type Error = Error;

    async fn authorize(&self, run: Run<'_>) -> Result<MayDecide, Error> {
        let Run { tx, caller, .. } = run;
        if let Principal::Operator { .. } = caller.acting() {
            return MayDecide::operator(tx, caller, self.org_id, self.change_id).await;
        }
        MayDecide::member(run, (self.org_id, self.change_id), true).await
    }

    async fn act(&self, run: Run<'_>, grant: &MayDecide) -> Result<DecideOutcome, Error> {
        let Run { context, tx, caller } = run;
        let MayDecide {
            scope,
            decider,
            organization,
            change,
        } = grant;
        grant.require_pending()?;
        self.check_order(tx, grant)?;
        if self.preview_etag != etag_of_change(change, organization.policies_version) {
            return Err(Error::preview_stale());
        }
        // The change acts by the facts of this moment (F18): two people stand for it, and one who may
        // no longer change policies is none of them.
        let author = context.roster.facts(tx, self.org_id, change.author_id).await?;
        if !author.is_some_and(|facts| policy::change(&facts).is_allowed()) {
            return Err(Error::change_lapsed(change.id));
        }
        let before = &organization.policies;
        if decider.is_none() && has_second_person(context, tx, change, before).await? {
            return Err(Error::second_person_available());
        }
        let after = change.applied_to(before);
        let changed = organizations::replace_policies(tx, scope, organization, after).await?;
        let change = PolicyChange {
            confirm_time: Some(tx.now()),
            confirmer_id: *decider,
            order: self.order.clone(),
            policies_version: Some(changed.policies_version),
            ..change.clone()
        };
        storage::update(tx, scope, &change).await?;
        audit(tx, caller, &change).await?;
        Ok(DecideOutcome {
            policy_change_id: change.id,
        })
    }

    async fn view(
        &self,
        run: Run<'_>,
        grant: &MayDecide,
        outcome: &DecideOutcome,
    ) -> Result<ConfirmedChange, Error> {
        let organization = organizations::find(run.tx, &grant.scope).await?;
        let organization = organization.ok_or(Error::UnknownOrganization(self.org_id))?;
        let change = load(run.tx, &grant.scope, outcome.policy_change_id).await?;
        Ok(ConfirmedChange {
            shown: ShownChange::new(change, organization.policies_version),
            organization,
        })
    }
}

/// Drops a pending change.
#[derive(Debug)]
pub(in crate::policies) struct DropPolicyChange {
    pub(in crate::policies) org_id: OrgId,
    pub(in crate::policies) change_id: PolicyChangeId,
}

impl Mutation for DropPolicyChange {
    type Context = Context;
    type Grant = MayDecide;
    type Outcome = DecideOutcome;
    type View = ShownChange;
    type Error = Error;

    async fn authorize(&self, run: Run<'_>) -> Result<MayDecide, Error> {
        // The author withdraws their own change: it gives nobody anything.
        MayDecide::member(run, (self.org_id, self.change_id), false).await
    }

    async fn act(&self, run: Run<'_>, grant: &MayDecide) -> Result<DecideOutcome, Error> {
        let Run { tx, caller, .. } = run;
        grant.require_pending()?;
        let change = PolicyChange {
            drop_time: Some(tx.now()),
            dropper_id: grant.decider,
            ..grant.change.clone()
        };
        storage::update(tx, &grant.scope, &change).await?;
        audit(tx, caller, &change).await?;
        Ok(DecideOutcome {
            policy_change_id: change.id,
        })
    }

    async fn view(
        &self,
        run: Run<'_>,
        grant: &MayDecide,
        outcome: &DecideOutcome,
    ) -> Result<ShownChange, Error> {
        let change = load(run.tx, &grant.scope, outcome.policy_change_id).await?;
        Ok(ShownChange::new(change, grant.organization.policies_version))
    }
}

#[cfg(test)]
mod tests {
    use parta_ids::{TypedId as _, Uuid};

    use super::*;

    #[test]
    fn outcome_has_its_golden_form() {
        let outcome = DecideOutcome {
            policy_change_id: PolicyChangeId::from_uuid(Uuid::from_u128(1)),
        };
        let form = format!("\u{1}{{\"policy_change_id\":\"{}\"}}", outcome.policy_change_id);
        let stored = outcome.encode().unwrap();
        assert_eq!(stored, form.as_bytes());
        assert_eq!(DecideOutcome::decode(&stored).unwrap(), outcome);
    }
}
