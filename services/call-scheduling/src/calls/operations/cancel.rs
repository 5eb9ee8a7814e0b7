//! Canceling calls and single occurrences.
use chrono::{DateTime, Utc};
use parta_access::Caller;
use parta_ids::{CallId, OrgId};
use parta_proto::parta::call_scheduling::v1::{
    CallCancelled, CancelCallResponse, CancelOccurrenceResponse, OccurrenceCancelled,
    call_scheduling_event::Payload,
};
use parta_storage::{Mutation, check_etag};

use crate::{
    calls::{
        grpc::convert,
        policy,
        storage::{calls, occurrences},
    },
    context::App,
    error::Error,
};

impl App {
    /// Cancels a call with all its occurrences; again changes nothing.
    pub(crate) async fn cancel(
        &self,
        caller: &Caller,
        mutation: &Mutation,
        org: OrgId,
        id: CallId,
        etag: &str,
    ) -> Result<CancelCallResponse, Error> {
        let facts = &self.facts(caller, org).await?;
        let response = self
            .db
            .mutate(mutation, |tx| async move {
                let (scope, call) = self.managed(&tx, caller, facts, id).await?;
                check_etag(etag, call.revision)?;
                if calls::update_cancelled(&tx, &scope, id, tx.now()).await? {
                    parta_audit::record(&tx, caller, Some(org), call.resource_name()).await?;
                    parta_feed::append_event(
                        &tx,
                        org,
                        Payload::CallCancelled(CallCancelled {
                            call_id: id.to_string(),
                        }),
                    );
                }
                let call = calls::find(&tx, &scope, id).await?.ok_or(Error::Unknown(id))?;
                let call = Some(convert::whole_call(&call)?);
                Ok::<_, Error>(CancelCallResponse {
                    call,
                    ..Default::default()
                })
            })
            .await?;
        Ok(response)
    }

    /// Cancels one occurrence; again changes nothing.
    pub(crate) async fn cancel_occurrence(
        &self,
        caller: &Caller,
        mutation: &Mutation,
        org: OrgId,
        id: CallId,
        start: DateTime<Utc>,
    ) -> Result<CancelOccurrenceResponse, Error> {
        let facts = &self.facts(caller, org).await?;
        let response = self
            .db
            .mutate(mutation, |tx| async move {
                let (scope, call) = self.managed(&tx, caller, facts, id).await?;
                if call.cancel_time.is_some() {
                    return Err(Error::CallCancelled);
                }
                let slot = call.slot_at(start).ok_or(Error::UnknownOccurrence(id))?;
                if occurrences::update_cancelled(&tx, &scope, id, start, tx.now()).await? {
                    let name = format!("{}/occurrences/{}", call.resource_name(), start.timestamp());
                    parta_audit::record(&tx, caller, Some(org), name).await?;
                    let event = OccurrenceCancelled {
                        call_id: id.to_string(),
                        start_time: Some(convert::timestamp(start)),
                    };
                    parta_feed::append_event(&tx, org, Payload::OccurrenceCancelled(event));
                }
                let occurrence = convert::occurrence(&call, &slot, true, policy::may_join(facts, &call));
                Ok::<_, Error>(CancelOccurrenceResponse {
                    occurrence: Some(occurrence),
                    ..Default::default()
                })
            })
            .await?;
        Ok(response)
    }
}
