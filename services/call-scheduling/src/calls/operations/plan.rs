//! Planning calls.
use chrono::{DateTime, DurationRound as _, NaiveDateTime, TimeDelta, Utc};
use chrono_tz::Tz;
use parta_access::{OrgScope, authorize};
use parta_edge::{Mutation, Stored};
use parta_ids::CallId;
use parta_roster::MemberContext;
use parta_status::{RpcError, invalid, not_found};
use serde::{Deserialize, Serialize};

use super::{
    super::{
        events,
        model::{Call, CallView, Draft, is_class},
        policy,
        storage::calls,
    },
    load_named,
};
use crate::{
    context::{Context, Run},
    error::Error,
    recurrence::{NotPlannable, Schedule, Weekly},
};

/// The largest age of a start. A call may be planned after it was held, so that it is recorded.
const START_AGE_MAX: TimeDelta = TimeDelta::days(1);
/// The largest time from now to the start.
const START_AHEAD_MAX: TimeDelta = TimeDelta::days(732);

/// Plans a call or a weekly series in the time zone of the organization.
#[derive(Debug)]
pub(crate) struct PlanCall {
    pub(crate) draft: Draft,
    /// `None` for now.
    pub(crate) start: Option<NaiveDateTime>,
    pub(crate) duration: TimeDelta,
    pub(crate) weekly: Option<Weekly>,
}

pub(crate) struct OrganizeGrant {
    scope: OrgScope,
    facts: MemberContext,
}

/// The outcome of PlanCall.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct PlanOutcome {
    call_id: CallId,
}

impl Stored for PlanOutcome {}

impl Mutation for PlanCall {
    type Context = Context;
    type Grant = OrganizeGrant;
    type Outcome = PlanOutcome;
    type View = CallView;
    type Error = Error;

    async fn authorize(&self, run: Run<'_>) -> Result<OrganizeGrant, Error> {
        let Run { context, tx, caller } = run;
        let draft = &self.draft;
        let facts = context.roster.caller_context(tx, caller, draft.org_id).await?;
        let named = load_named(context, tx, &facts, &draft.participants).await?;
        let decision = policy::organize(&facts, draft, &named);
        let scope = authorize(caller, draft.org_id, decision)?;
        Ok(OrganizeGrant { scope, facts })
    }

    async fn act(&self, run: Run<'_>, grant: &OrganizeGrant) -> Result<PlanOutcome, Error> {
        let Run { tx, caller, .. } = run;
        let call = self.build_call(run, &grant.facts).await?;
        let slots = call.schedule.slots()?;
        let start_time = slots.first().ok_or(NotPlannable)?.start;
        check_start(start_time, tx.now())?;
        calls::insert(tx, &grant.scope, &call, &slots).await?;
        let org = grant.scope.org_id();
        parta_audit::record(tx, caller, Some(org), call.resource_name()).await?;
        let call_id = call.id;
        events::planned(tx, &CallView { call, start_time });
        Ok(PlanOutcome { call_id })
    }

    async fn view(
        &self,
        run: Run<'_>,
        grant: &OrganizeGrant,
        outcome: &PlanOutcome,
    ) -> Result<CallView, Error> {
        let id = outcome.call_id;
        let call = calls::find(run.tx, &grant.scope, id).await?;
        Ok(CallView::of(call.ok_or(Error::Unknown(id))?)?)
    }
}

fn check_start(start: DateTime<Utc>, now: DateTime<Utc>) -> Result<(), RpcError> {
    if start < now - START_AGE_MAX || start > now + START_AHEAD_MAX {
        let why = "must not be more than a day ago or two years ahead";
        return Err(invalid("start_civil_time", why));
    }
    Ok(())
}

impl PlanCall {
    /// Checks the unit and the participants, and resolves the start.
    async fn build_call(&self, run: Run<'_>, organizer: &MemberContext) -> Result<Call, Error> {
        let Run { context, tx, caller } = run;
        let draft = &self.draft;
        let (org, unit_id, roster) = (draft.org_id, draft.unit_id, &context.roster);
        // Locked, because the calls of a unit are canceled when it is archived.
        let unit = roster
            .lock_unit(tx, org, unit_id)
            .await?
            .ok_or_else(|| not_found("unit", unit_id))?;
        if unit.archived || !draft.kind.suits(unit.kind) {
            return Err(Error::unit_not_suitable(unit_id));
        }
        let unit_is_class = is_class(unit.kind);
        let named = roster.contexts_of(tx, org, &draft.participants).await?;
        for member in &draft.participants {
            let mut found = named.iter().filter(|facts| facts.member_id == *member);
            if !found.any(|facts| policy::is_in_audience(facts, draft, unit_is_class, &named)) {
                return Err(Error::participant_not_concerned(*member));
            }
        }
        authorize(caller, org, policy::name(organizer, draft, &named))?;
        if policy::is_alone_with_a_pupil(draft, &named) {
            return Err(Error::supervision_required());
        }
        let organization = roster
            .organization(tx, org)
            .await?
            .ok_or_else(|| not_found("organization", org))?;
        let zone: Tz = organization.time_zone.parse().map_err(RpcError::internal)?;
        // The current minute, because a civil time has no seconds here and must be equal to the start.
        let now = tx
            .now()
            .duration_trunc(TimeDelta::minutes(1))
            .map_err(RpcError::internal)?;
        let start = self
            .start
            .unwrap_or_else(|| now.with_timezone(&zone).naive_local());
        Ok(Call {
            id: tx.env().id::<CallId>(),
            draft: draft.clone(),
            unit_is_class,
            organizer_id: organizer.member_id,
            schedule: Schedule {
                start,
                zone,
                duration: self.duration,
                weekly: self.weekly,
            },
            announced: false,
            canceled: None,
            create_time: tx.now(),
            revision: 1,
        })
    }
}

#[cfg(test)]
mod tests {
    use parta_ids::{TypedId as _, Uuid};

    use super::*;

    #[test]
    fn outcome_has_its_golden_form() {
        let call_id = CallId::from_uuid(Uuid::from_u128(9));
        let stored = PlanOutcome { call_id }.encode().unwrap();
        assert_eq!(stored, format!("\u{1}{{\"call_id\":\"{call_id}\"}}").as_bytes());
        assert_eq!(PlanOutcome::decode(&stored).unwrap(), PlanOutcome { call_id });
    }
}
