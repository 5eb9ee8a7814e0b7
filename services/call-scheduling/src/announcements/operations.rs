//! Announcing calls in the chat of their unit.
//!
//! No transaction is open while chat is called. Each run of AnnounceCall, a repetition included, calls chat
//! unless the call is marked as announced.
use parta_access::{Caller, Decision, authorize};
use parta_database::Tx;
use parta_edge::Mutation;
use parta_ids::{CallId, OrgId};

use super::chat;
use crate::{
    calls::{self, Granted, ShownCall},
    context::Context,
    error::Error,
};

/// Records that a call is to be announced; [`announce`] posts it. Announcing an announced call changes
/// nothing.
#[derive(Debug)]
pub(crate) struct AnnounceCall {
    pub(crate) org_id: OrgId,
    pub(crate) call_id: CallId,
}

impl Mutation for AnnounceCall {
    type Context = Context;
    type Grant = Granted;
    type Outcome = ();
    type View = ShownCall;
    type Error = Error;

    async fn authorize(&self, context: &Context, tx: &Tx, caller: &Caller) -> Result<Granted, Error> {
        calls::managed(context, tx, caller, self.org_id, self.call_id).await
    }

    async fn act(&self, _: &Context, tx: &Tx, caller: &Caller, grant: &Granted) -> Result<(), Error> {
        let call = &grant.call;
        if call.cancel_time.is_some() {
            return Err(Error::CallCanceled);
        }
        parta_audit::record(tx, caller, Some(self.org_id), call.resource_name()).await?;
        Ok(())
    }

    async fn view(&self, _: &Context, _: &Tx, grant: &Granted, (): &()) -> Result<ShownCall, Error> {
        Ok(ShownCall::of(grant.call.clone())?)
    }
}

/// The end of an announcement.
pub(crate) struct Announcement {
    /// The call after the announcement.
    pub(crate) shown: ShownCall,
    /// Names the state after the call was marked; `None` if nothing changed.
    pub(crate) consistency_token: Option<String>,
    /// Why the call is not announced.
    pub(crate) refusal: Option<Error>,
}

/// Posts a call in the chat of its unit unless it is announced or canceled, and marks it as announced.
pub(crate) async fn announce(
    context: &Context,
    caller: &Caller,
    shown: ShownCall,
) -> Result<Announcement, Error> {
    let unchanged = |shown, refusal| Announcement {
        shown,
        consistency_token: None,
        refusal,
    };
    let call = &shown.call;
    if call.announced {
        return Ok(unchanged(shown, None));
    }
    if call.cancel_time.is_some() {
        return Ok(unchanged(shown, Some(Error::CallCanceled)));
    }
    if let Some(refusal) = chat::post(context, caller, call).await? {
        return Ok(unchanged(shown, Some(refusal.into())));
    }
    let scope = &authorize(caller, call.draft.org_id, Decision::Allow)?;
    let id = call.id;
    let (call, consistency_token) = context
        .db
        .write(|tx| async move {
            calls::update_announced(&tx, scope, id).await?;
            let call = calls::find(&tx, scope, id).await?.ok_or(Error::Unknown(id))?;
            Ok::<_, Error>((call, parta_mutations::finish(&tx).await?))
        })
        .await?;
    Ok(Announcement {
        shown: ShownCall::of(call)?,
        consistency_token: Some(consistency_token),
        refusal: None,
    })
}
