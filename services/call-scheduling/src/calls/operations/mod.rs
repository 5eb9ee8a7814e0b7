//! Planning, reading and canceling calls.
mod cancel;
mod plan;
mod read;

use parta_access::{OrgScope, authorize};
use parta_database::Tx;
use parta_ids::{CallId, MemberId, OrgId};
use parta_roster::{DutyFunction, MemberContext};

pub(super) use cancel::{CancelCall, CancelOccurrence, cancel_calls_of_unit};
pub(super) use plan::PlanCall;
pub(super) use read::{GetCall, ListOccurrences};

use super::{model::Call, policy, storage::calls};
use crate::{
    context::{Context, Run},
    error::Error,
};

/// The grant for an act with this call.
pub(crate) struct CallGrant {
    pub(crate) scope: OrgScope,
    pub(crate) facts: MemberContext,
    pub(crate) call: Call,
    /// The facts about the named participants, as [`load_named`] returns them.
    pub(crate) named: Vec<MemberContext>,
}

/// Loads the facts about the named participants of a call, with which a duty of the member is compared. A
/// member without such a duty needs none.
pub(crate) async fn load_named(
    context: &Context,
    tx: &Tx,
    facts: &MemberContext,
    participants: &[MemberId],
) -> Result<Vec<MemberContext>, Error> {
    if participants.is_empty() || !facts.has_function(DutyFunction::Rooms) {
        return Ok(Vec::new());
    }
    Ok(context.roster.contexts_of(tx, facts.org_id, participants).await?)
}

/// Loads a call that the caller may see.
pub(crate) async fn load_visible(run: Run<'_>, org: OrgId, id: CallId) -> Result<CallGrant, Error> {
    let Run { context, tx, caller } = run;
    let facts = context.roster.caller_context(tx, caller, org).await?;
    let scope = authorize(caller, org, policy::list(&facts))?;
    let call = calls::find(tx, &scope, id).await?.ok_or(Error::Unknown(id))?;
    let named = load_named(context, tx, &facts, &call.draft.participants).await?;
    let scope = authorize(caller, org, policy::see(&facts, &call, &named))?;
    Ok(CallGrant {
        scope,
        facts,
        call,
        named,
    })
}

/// Loads a call that the caller may cancel and announce, and locks its row. Canceled calls are found too.
pub(crate) async fn load_managed(run: Run<'_>, org: OrgId, id: CallId) -> Result<CallGrant, Error> {
    let Run { context, tx, caller } = run;
    let facts = context.roster.caller_context(tx, caller, org).await?;
    let scope = authorize(caller, org, policy::list(&facts))?;
    let call = calls::lock(tx, &scope, id).await?.ok_or(Error::Unknown(id))?;
    let named = load_named(context, tx, &facts, &call.draft.participants).await?;
    authorize(caller, org, policy::see(&facts, &call, &named))?;
    let scope = authorize(caller, org, policy::manage(&facts, &call, &named))?;
    Ok(CallGrant {
        scope,
        facts,
        call,
        named,
    })
}
