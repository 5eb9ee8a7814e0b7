//! Planning calls.
use chrono::{DurationRound as _, NaiveDateTime, TimeDelta};
use chrono_tz::Tz;
use parta_access::{Caller, authorize};
use parta_ids::CallId;
use parta_proto::parta::call_scheduling::v1::{
    CallPlanned, PlanCallResponse, call_scheduling_event::Payload,
};
use parta_status::{RpcError, invalid, not_found};
use parta_storage::{Mutation, Tx};

use crate::{
    calls::{
        grpc::convert,
        model::{Call, Draft, kind::is_class},
        policy,
        storage::calls,
    },
    context::App,
    error::Error,
    recurrence::model::{Schedule, Weekly},
};

/// A call may begin so long ago (it is noted belatedly) or ahead.
const EARLIEST: TimeDelta = TimeDelta::days(1);
const LATEST: TimeDelta = TimeDelta::days(732);

/// What somebody wants to plan.
#[derive(Debug, Clone)]
pub(crate) struct PlanCall {
    pub(crate) draft: Draft,
    /// `None`: now.
    pub(crate) start: Option<NaiveDateTime>,
    pub(crate) duration: TimeDelta,
    pub(crate) weekly: Option<Weekly>,
    pub(crate) announce: bool,
}

impl App {
    /// Plans a call; then announces it if asked to. What the announcement needs is not part of the transaction.
    pub(crate) async fn plan(
        &self,
        caller: &Caller,
        mutation: &Mutation,
        wanted: PlanCall,
    ) -> Result<PlanCallResponse, Error> {
        let (wanted, org) = (&wanted, wanted.draft.org_id);
        let facts = &self.facts(caller, org).await?;
        let scope = &authorize(
            caller,
            org,
            policy::organize(facts, wanted.draft.kind, wanted.draft.unit_id),
        )?;
        let mut response: PlanCallResponse = self
            .db
            .mutate(mutation, |tx| async move {
                let call = self.decide(&tx, facts.member_id, wanted).await?;
                let slots = call.schedule.slots()?;
                let first = slots.first().ok_or(crate::recurrence::model::NotPlannable)?.start;
                let now = tx.now();
                if first < now - EARLIEST || first > now + LATEST {
                    let why = "must not be more than a day ago or two years ahead";
                    return Err(invalid("start_civil_time", why).into());
                }
                calls::insert(&tx, scope, &call, &slots).await?;
                parta_audit::record(&tx, caller, Some(org), call.resource_name()).await?;
                let event = CallPlanned {
                    call_id: call.id.to_string(),
                    unit_id: call.draft.unit_id.to_string(),
                    start_time: Some(convert::timestamp(first)),
                };
                parta_feed::append_event(&tx, org, Payload::CallPlanned(event));
                Ok::<_, Error>(PlanCallResponse {
                    call: Some(convert::call(&call, first)),
                    ..Default::default()
                })
            })
            .await?;
        if wanted.announce
            && let Some(id) = response.call.as_ref().and_then(|c| c.id.parse::<CallId>().ok())
        {
            // Also on a repetition: the first try may have ended between the commit and the announcement.
            let call = calls::find(self.db.conn(), scope, id)
                .await?
                .ok_or(Error::Unknown(id))?;
            let (call, _) = self.announce_once(caller, scope, call).await?;
            response.call = Some(convert::whole_call(&call)?);
        }
        Ok(response)
    }

    async fn decide(
        &self,
        tx: &Tx,
        organizer: parta_ids::MemberId,
        wanted: &PlanCall,
    ) -> Result<Call, Error> {
        let draft = &wanted.draft;
        let (org, unit_id) = (draft.org_id, draft.unit_id);
        let unit = self
            .roster
            .unit(tx, org, unit_id)
            .await?
            .ok_or_else(|| not_found("unit", unit_id))?;
        if unit.archived || !draft.kind.suits(unit.kind) {
            return Err(Error::UnitNotSuitable(unit_id));
        }
        let of_class = is_class(unit.kind);
        for member in &draft.participants {
            let facts = self.roster.facts(tx, org, *member).await?;
            if !facts.is_some_and(|f| policy::is_concerned(&f, draft.kind, unit_id, of_class)) {
                return Err(Error::ParticipantNotConcerned(*member));
            }
        }
        let organization = self
            .roster
            .organization(tx, org)
            .await?
            .ok_or_else(|| not_found("organization", org))?;
        let zone: Tz = organization.time_zone.parse().map_err(RpcError::internal)?;
        // "Now" is the minute that has begun, so that the civil text tells the start exactly.
        let now = tx
            .now()
            .duration_trunc(TimeDelta::minutes(1))
            .map_err(RpcError::internal)?;
        let start = wanted
            .start
            .unwrap_or_else(|| now.with_timezone(&zone).naive_local());
        Ok(Call {
            id: tx.env().id::<CallId>(),
            draft: draft.clone(),
            of_class,
            organizer_id: organizer,
            schedule: Schedule {
                start,
                zone,
                duration: wanted.duration,
                weekly: wanted.weekly,
            },
            announced: false,
            cancel_time: None,
            create_time: tx.now(),
            revision: 1,
        })
    }
}
