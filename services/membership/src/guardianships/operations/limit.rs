use chrono::NaiveDate;
use parta_access::{OrgScope, authorize};
use parta_database::Tx;
use parta_edge::Mutation;
use parta_ids::{GuardianshipId, MemberId, OrgId};
use parta_roster::{RelationLimit, RelationLimits};

use super::{Decided, KIND, MayDecide, audit, end_limit, may_decide, view};
use crate::{
    context::{Context, Run},
    endings::{self, EndingKind, end_of_day, time_zone},
    error::Error,
    guardianships::{
        events,
        model::{DECISION_TIME, Guardianship, GuardianshipView, InForce, Limit},
        policy, storage,
    },
    notices::{self, Notice},
    orders::{self, Order},
};

/// Limits a guardian toward a child, or lifts limits.
#[derive(Debug)]
pub(crate) struct LimitGuardianship {
    pub(crate) org_id: OrgId,
    pub(crate) guardianship_id: GuardianshipId,
    /// Empty to lift limits.
    pub(crate) limits: RelationLimits,
    /// Without an order the limits are provisional.
    pub(crate) order: Option<Order>,
    /// The last day; only with an order, and not for the end.
    pub(crate) until: Option<NaiveDate>,
    pub(crate) cause: String,
}

impl LimitGuardianship {
    /// Adds limits that stay until the administration decides.
    async fn add_provisional(
        &self,
        tx: &Tx,
        scope: &OrgScope,
        author_id: MemberId,
        row: &Guardianship,
        in_force: &InForce,
    ) -> Result<(), Error> {
        let earlier = in_force.provisional.as_ref();
        match earlier {
            Some(earlier) => end_limit(tx, scope, earlier.id).await?,
            None => {
                let overdue = Notice::LimitToDecide {
                    guardianship_id: row.id,
                    decider_id: None,
                };
                notices::deliver_at(tx, row.org_id, overdue, tx.now() + DECISION_TIME).await?;
            }
        }
        let limit = Limit {
            limits: earlier
                .map(|earlier| earlier.limits)
                .unwrap_or_default()
                .union(self.limits),
            // The administration has waited with the decision since the first of them.
            create_time: earlier.map_or(tx.now(), |earlier| earlier.create_time),
            ..self.limit(tx, author_id, row)
        };
        Ok(storage::limits::insert(tx, scope, &limit).await?)
    }

    fn limit(&self, tx: &Tx, author_id: MemberId, row: &Guardianship) -> Limit {
        Limit {
            org_id: row.org_id,
            id: tx.env().id(),
            guardianship_id: row.id,
            guardian_id: row.guardian_id,
            child_id: row.child_id,
            limits: self.limits,
            until: self.until,
            order: self.order.clone(),
            cause: self.cause.clone(),
            author_id,
            create_time: tx.now(),
            end_time: None,
        }
    }

    /// Replaces all limits in force by those of the order.
    async fn decide(
        &self,
        context: &Context,
        tx: &Tx,
        MayDecide { scope, facts, row }: &MayDecide,
        order: &Order,
        in_force: &InForce,
    ) -> Result<(), Error> {
        let ordered = in_force.ordered.as_ref().map(|limit| limit.limits);
        let loosens = !self.limits.include(ordered.unwrap_or_default());
        if loosens && !in_force.is_older_than(order) {
            return Err(Error::order_required());
        }
        for limit in [&in_force.ordered, &in_force.provisional].into_iter().flatten() {
            end_limit(tx, scope, limit.id).await?;
        }
        if self.limits.is_empty() {
            return Ok(());
        }
        let limit = self.limit(tx, facts.member_id, row);
        storage::limits::insert(tx, scope, &limit).await?;
        if let Some(until) = limit.until {
            let due = end_of_day(until, time_zone(&context.roster, tx, self.org_id).await?);
            endings::schedule(tx, self.org_id, EndingKind::RelationLimit, limit.id, due).await?;
        }
        if self.limits.forbids(RelationLimit::Ended) {
            let ended = Guardianship {
                end_time: row.end_time.or_else(|| Some(tx.now())),
                end_cause: row.end_cause.clone().or_else(|| Some(self.cause.clone())),
                ended_by_order: true,
                ..row.clone()
            };
            storage::update(tx, scope, &ended).await?;
            if !row.has_ended() {
                events::ended(tx, row.org_id, row.id).await?;
            }
        }
        Ok(())
    }
}

impl Mutation for LimitGuardianship {
    type Context = Context;
    type Grant = MayDecide;
    type Outcome = Decided;
    type View = GuardianshipView;
    type Error = Error;

    async fn authorize(&self, run: Run<'_>) -> Result<MayDecide, Error> {
        let grant = may_decide(run, self.org_id, self.guardianship_id).await?;
        if self.order.is_some() || self.limits.is_empty() {
            authorize(run.caller, self.org_id, policy::administer(&grant.facts))?;
        }
        Ok(grant)
    }

    async fn act(&self, run: Run<'_>, grant: &MayDecide) -> Result<Decided, Error> {
        let Run { context, tx, caller } = run;
        let MayDecide { scope, facts, row } = grant;
        let (org, pair) = (scope.org_id(), (row.guardian_id, row.child_id));
        let in_force = storage::limits::find(tx, scope, pair).await?;
        if in_force.is_ended_by_order() {
            return Err(Error::relation_ended_by_order());
        }
        if row.has_ended() {
            // Limits belong to the two people. An order may arrive after the relation has ended, and an undo
            // of a change of roles must not begin the relation again without the limits.
            let latest = storage::find_latest(tx, scope, pair).await?;
            let is_latest = latest.is_some_and(|latest| latest.id == row.id);
            if self.order.is_none() || !is_latest {
                return Err(Error::unknown(KIND, row.id));
            }
        }
        match &self.order {
            Some(order) => {
                orders::check(&context.roster, tx, org, order).await?;
                self.decide(context, tx, grant, order, &in_force).await?;
            }
            None if self.limits.is_empty() => match &in_force.provisional {
                Some(limit) => end_limit(tx, scope, limit.id).await?,
                None if in_force.ordered.is_some() => return Err(Error::order_required()),
                None => {}
            },
            None => {
                self.add_provisional(tx, scope, facts.member_id, row, &in_force)
                    .await?;
            }
        }
        let now_in_force = storage::limits::find(tx, scope, pair).await?.limits();
        events::limited(tx, org, pair, now_in_force).await?;
        let guardianship_id = row.id;
        notices::deliver(tx, org, Notice::RelationLimited { guardianship_id }).await?;
        audit(tx, caller, row).await?;
        Ok(Decided {
            guardianship_id: row.id,
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
