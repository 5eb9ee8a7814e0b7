//! Canceling calls and single occurrences.
use chrono::{DateTime, Utc};
use parta_access::OrgScope;
use parta_database::{StorageError, Tx};
use parta_edge::Mutation;
use parta_ids::{CallId, OrgId, UnitId};
use parta_mutations::check_etag;

use super::{
    super::{
        events,
        model::{CallView, CancelReason, Cancellation, OccurrenceView},
        policy,
        storage::{calls, occurrences},
    },
    CallGrant, load_managed,
};
use crate::{
    context::{Context, Run},
    error::Error,
    rooms::{self, Affected},
};

/// Cancels a call with all its occurrences. Canceling a canceled call changes nothing.
#[derive(Debug)]
pub(crate) struct CancelCall {
    pub(crate) org_id: OrgId,
    pub(crate) call_id: CallId,
    /// The etag that the caller has read; empty to change the object without a comparison.
    pub(crate) etag: String,
}

impl Mutation for CancelCall {
    type Context = Context;
    type Grant = CallGrant;
    type Outcome = ();
    type View = CallView;
    type Error = Error;

    async fn authorize(&self, run: Run<'_>) -> Result<CallGrant, Error> {
        load_managed(run, self.org_id, self.call_id).await
    }

    async fn act(&self, run: Run<'_>, grant: &CallGrant) -> Result<(), Error> {
        let Run { tx, caller, .. } = run;
        let CallGrant { scope, call, .. } = grant;
        check_etag(&self.etag, call.revision)?;
        let canceled = Cancellation {
            time: tx.now(),
            reason: CancelReason::Member,
        };
        if calls::update_canceled(tx, scope, call.id, canceled).await? {
            parta_audit::record(tx, caller, Some(scope.org_id()), call.resource_name()).await?;
            rooms::look_again(tx, scope, Affected::Calls(&[call.id])).await?;
            events::canceled(tx, scope.org_id(), call.id);
        }
        Ok(())
    }

    async fn view(&self, run: Run<'_>, grant: &CallGrant, (): &()) -> Result<CallView, Error> {
        let id = grant.call.id;
        let call = calls::find(run.tx, &grant.scope, id).await?;
        Ok(CallView::of(call.ok_or(Error::Unknown(id))?)?)
    }
}

/// Cancels the calls of an archived unit that have an occurrence in the future.
pub(crate) async fn cancel_calls_of_unit(
    tx: &Tx,
    scope: &OrgScope,
    unit: UnitId,
) -> Result<(), StorageError> {
    let canceled = Cancellation {
        time: tx.now(),
        reason: CancelReason::UnitArchived,
    };
    for call in calls::lock_future(tx, scope, unit, canceled.time).await? {
        if calls::update_canceled(tx, scope, call, canceled).await? {
            events::canceled(tx, scope.org_id(), call);
        }
    }
    Ok(())
}

/// Cancels one occurrence. Canceling a canceled occurrence changes nothing.
#[derive(Debug)]
pub(crate) struct CancelOccurrence {
    pub(crate) org_id: OrgId,
    pub(crate) call_id: CallId,
    pub(crate) start_time: DateTime<Utc>,
}

impl Mutation for CancelOccurrence {
    type Context = Context;
    type Grant = CallGrant;
    type Outcome = ();
    type View = OccurrenceView;
    type Error = Error;

    async fn authorize(&self, run: Run<'_>) -> Result<CallGrant, Error> {
        load_managed(run, self.org_id, self.call_id).await
    }

    async fn act(&self, run: Run<'_>, grant: &CallGrant) -> Result<(), Error> {
        let Run { tx, caller, .. } = run;
        let CallGrant { scope, call, .. } = grant;
        let (org, start) = (scope.org_id(), self.start_time);
        if call.canceled.is_some() {
            return Err(Error::CallCanceled);
        }
        call.slot_at(start).ok_or(Error::UnknownOccurrence(call.id))?;
        if occurrences::update_occurrence_canceled(tx, scope, call.id, start, tx.now()).await? {
            parta_audit::record(tx, caller, Some(org), call.occurrence_name(start)).await?;
            rooms::look_again(tx, scope, Affected::Calls(&[call.id])).await?;
            events::occurrence_canceled(tx, org, call.id, start);
        }
        Ok(())
    }

    async fn view(&self, run: Run<'_>, grant: &CallGrant, (): &()) -> Result<OccurrenceView, Error> {
        let CallGrant {
            scope,
            facts,
            call,
            named,
        } = grant;
        let start = self.start_time;
        let slot = call.slot_at(start).ok_or(Error::UnknownOccurrence(call.id))?;
        let is_canceled = occurrences::is_canceled(run.tx, scope, call.id, start).await?;
        Ok(OccurrenceView {
            call: call.clone(),
            slot,
            canceled: call.is_canceled_at(start) || is_canceled,
            may_join: policy::may_join(facts, call, named),
        })
    }
}
