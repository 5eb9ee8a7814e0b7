//! Announcing calls in the chats of their audience.
//!
//! No transaction is open while chat is called. Every AnnounceCall, including repetitions, calls chat unless
//! the call is marked as announced.
use parta_access::{Caller, belongs};
use parta_edge::Mutation;
use parta_ids::{CallId, OrgId};

use super::chat;
use crate::{
    calls::{self, CallGrant, CallView},
    context::{Context, Run},
    error::Error,
};

/// Authorizes and audits an announcement; [`announce`] posts it. Announcing an announced call changes
/// nothing.
#[derive(Debug)]
pub(crate) struct AnnounceCall {
    pub(crate) org_id: OrgId,
    pub(crate) call_id: CallId,
}

impl Mutation for AnnounceCall {
    type Context = Context;
    type Grant = CallGrant;
    type Outcome = ();
    type View = CallView;
    type Error = Error;

    async fn authorize(&self, run: Run<'_>) -> Result<CallGrant, Error> {
        calls::load_managed(run, self.org_id, self.call_id).await
    }

    async fn act(&self, run: Run<'_>, grant: &CallGrant) -> Result<(), Error> {
        let call = &grant.call;
        if call.canceled.is_some() {
            return Err(Error::CallCanceled);
        }
        parta_audit::record(run.tx, run.caller, Some(self.org_id), call.resource_name()).await?;
        Ok(())
    }

    async fn view(&self, _: Run<'_>, grant: &CallGrant, (): &()) -> Result<CallView, Error> {
        Ok(CallView::of(grant.call.clone())?)
    }
}

/// The result of an announcement.
pub(crate) struct Announcement {
    pub(crate) view: CallView,
    /// The consistency token after the call was marked; `None` if nothing changed.
    pub(crate) consistency_token: Option<String>,
    /// The reason why the call was not announced.
    pub(crate) refusal: Option<Error>,
}

/// Posts a call in the chats of its audience unless it is announced or canceled, and marks it as announced.
pub(crate) async fn announce(
    context: &Context,
    caller: &Caller,
    view: CallView,
) -> Result<Announcement, Error> {
    let unchanged = |view, refusal| Announcement {
        view,
        consistency_token: None,
        refusal,
    };
    let call = &view.call;
    if call.announced {
        return Ok(unchanged(view, None));
    }
    if call.canceled.is_some() {
        return Ok(unchanged(view, Some(Error::CallCanceled)));
    }
    if let Some(refusal) = chat::post(context, caller, call).await? {
        return Ok(unchanged(view, Some(refusal)));
    }
    // The act before decided that the caller may announce the call.
    let scope = &belongs(caller, call.draft.org_id)?;
    let id = call.id;
    let (call, consistency_token) = context
        .db
        .write(|tx| async move {
            tx.act_for(Some(scope.org_id()));
            calls::update_announced(&tx, scope, id).await?;
            let call = calls::find(&tx, scope, id).await?.ok_or(Error::Unknown(id))?;
            Ok::<_, Error>((call, parta_mutations::finish(&tx).await?))
        })
        .await?;
    Ok(Announcement {
        view: CallView::of(call)?,
        consistency_token: Some(consistency_token),
        refusal: None,
    })
}
