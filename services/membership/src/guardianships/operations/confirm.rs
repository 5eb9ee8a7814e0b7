use parta_access::authorize;
use parta_edge::{Mutation, Stored};
use parta_ids::{GuardianshipId, OrgId};
use parta_roster::{RelationKind, RelationLimit};
use serde::{Deserialize, Serialize};

use super::{Decided, KIND, MayDecide, audit, end_limit, may_decide, view};
use crate::{
    context::{Context, Run},
    endings::today,
    error::Error,
    guardianships::{
        calendar, events,
        model::{AdultAccess, CHILDREN_WITHOUT_ORDER, Guardianship, GuardianshipView},
        policy, storage,
    },
    orders::{self, Order},
};

/// Confirms a guardianship, which takes effect with it. For a protected child, the first of two
/// confirmations is only stored. Confirming a confirmed guardianship changes nothing.
#[derive(Debug)]
pub(crate) struct ConfirmGuardianship {
    pub(crate) org_id: OrgId,
    pub(crate) guardianship_id: GuardianshipId,
    /// `None` leaves the kind unchanged.
    pub(crate) kind: Option<RelationKind>,
    /// Required beyond [`CHILDREN_WITHOUT_ORDER`] children, and to renew what an order has ended.
    pub(crate) order: Option<Order>,
}

impl Mutation for ConfirmGuardianship {
    type Context = Context;
    type Grant = MayDecide;
    type Outcome = Decided;
    type View = GuardianshipView;
    type Error = Error;

    async fn authorize(&self, run: Run<'_>) -> Result<MayDecide, Error> {
        may_decide(run, self.org_id, self.guardianship_id).await
    }

    async fn act(&self, run: Run<'_>, grant: &MayDecide) -> Result<Decided, Error> {
        confirm(run, grant, self.kind, self.order.as_ref()).await?;
        Ok(Decided {
            guardianship_id: grant.row.id,
        })
    }

    async fn view(
        &self,
        run: Run<'_>,
        grant: &MayDecide,
        outcome: &Decided,
    ) -> Result<GuardianshipView, Error> {
        view(run.tx, &grant.scope, outcome.guardianship_id).await
    }
}

/// The outcome of ConfirmGuardianships.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Confirmed {
    guardianship_ids: Vec<GuardianshipId>,
}

impl Stored for Confirmed {}

/// Confirms several relations, or none.
#[derive(Debug)]
pub(crate) struct ConfirmGuardianships {
    pub(crate) org_id: OrgId,
    /// At least one, each once.
    pub(crate) guardianship_ids: Vec<GuardianshipId>,
    pub(crate) order: Option<Order>,
}

impl Mutation for ConfirmGuardianships {
    type Context = Context;
    type Grant = Vec<MayDecide>;
    type Outcome = Confirmed;
    type View = Vec<GuardianshipView>;
    type Error = Error;

    async fn authorize(&self, run: Run<'_>) -> Result<Vec<MayDecide>, Error> {
        // Sorted, so that two calls with the same relations cannot deadlock.
        let mut ids = self.guardianship_ids.clone();
        ids.sort();
        let mut grants = Vec::with_capacity(ids.len());
        for id in ids {
            grants.push(may_decide(run, self.org_id, id).await?);
        }
        Ok(grants)
    }

    async fn act(&self, run: Run<'_>, grants: &Vec<MayDecide>) -> Result<Confirmed, Error> {
        for grant in grants {
            confirm(run, grant, None, self.order.as_ref()).await?;
        }
        Ok(Confirmed {
            guardianship_ids: self.guardianship_ids.clone(),
        })
    }

    async fn view(
        &self,
        run: Run<'_>,
        grants: &Vec<MayDecide>,
        outcome: &Confirmed,
    ) -> Result<Vec<GuardianshipView>, Error> {
        let Some(grant) = grants.first() else {
            return Ok(Vec::new());
        };
        let mut views = Vec::with_capacity(outcome.guardianship_ids.len());
        for id in &outcome.guardianship_ids {
            views.push(view(run.tx, &grant.scope, *id).await?);
        }
        Ok(views)
    }
}

/// Confirms a locked relation; see [`ConfirmGuardianship`].
async fn confirm(
    run: Run<'_>,
    MayDecide { scope, facts, row }: &MayDecide,
    kind: Option<RelationKind>,
    order: Option<&Order>,
) -> Result<(), Error> {
    let Run { context, tx, caller } = run;
    if row.has_ended() {
        return Err(Error::unknown(KIND, row.id));
    }
    if row.confirmed {
        return Ok(());
    }
    let (org, pair) = (scope.org_id(), (row.guardian_id, row.child_id));
    if let Some(order) = order {
        orders::check(&context.roster, tx, org, order).await?;
    }
    let in_force = storage::limits::find(tx, scope, pair).await?;
    let renews = in_force.is_ended_by_order();
    if renews {
        // Only the administration, with a newer order, renews a relation that an order ended (F13).
        let newer = order.is_some_and(|order| in_force.is_older_than(order));
        if !facts.is_administration() || !newer {
            return Err(Error::relation_ended_by_order());
        }
    } else if in_force.limits().forbids(RelationLimit::Ended) {
        return Err(Error::relation_limited());
    }
    let children = storage::count_children(tx, scope, row.guardian_id).await?;
    if children >= CHILDREN_WITHOUT_ORDER && order.is_none() {
        return Err(Error::order_required());
    }
    let record = storage::children::find(tx, scope, row.child_id).await?;
    let mut changed = Guardianship {
        kind: kind.unwrap_or(row.kind),
        order: order.cloned(),
        ..row.clone()
    };
    if record.protected {
        authorize(caller, org, policy::administer(facts))?;
        match row.approver_id {
            // Without effect and event until a second member of the administration confirms (R83).
            None => {
                changed.approver_id = Some(facts.member_id);
                storage::update(tx, scope, &changed).await?;
                return audit(tx, caller, &changed).await;
            }
            Some(first) if first == facts.member_id => return Err(Error::second_person_required()),
            Some(_) => {}
        }
    }
    if renews {
        for limit in [in_force.ordered, in_force.provisional].into_iter().flatten() {
            end_limit(tx, scope, limit.id).await?;
        }
        storage::renew(tx, scope, pair).await?;
        // The two have no limits now.
        events::limited(tx, org, pair, Default::default()).await?;
    }
    if let Some(birth_date) = record.birth_date {
        let today = today(&context.roster, tx, org).await?;
        changed.unit_rooms_only =
            calendar::is_of_age(birth_date, today) && row.adult_access != AdultAccess::Full;
    }
    changed.confirmed = true;
    storage::update(tx, scope, &changed).await?;
    events::changed(tx, &changed).await?;
    audit(tx, caller, &changed).await
}

#[cfg(test)]
mod tests {
    use parta_ids::{TypedId as _, Uuid};

    use super::*;

    #[test]
    fn outcomes_have_their_golden_forms() {
        let id = GuardianshipId::from_uuid(Uuid::from_u128(1));
        let one = Decided { guardianship_id: id }.encode().unwrap();
        assert_eq!(one, format!("\u{1}{{\"guardianship_id\":\"{id}\"}}").as_bytes());
        let all = Confirmed {
            guardianship_ids: vec![id],
        };
        let all = all.encode().unwrap();
        assert_eq!(
            all,
            format!("\u{1}{{\"guardianship_ids\":[\"{id}\"]}}").as_bytes()
        );
    }
}
