//! Planning, reading and canceling calls.
mod cancel;
mod plan;
mod read;

use parta_access::{Caller, OrgScope, authorize};
use parta_database::Tx;
use parta_ids::{CallId, OrgId};
use parta_roster::MemberContext;

pub(super) use cancel::{CancelCall, CancelOccurrence};
pub(super) use plan::PlanCall;
pub(super) use read::{GetCall, ListOccurrences};

use super::{model::Call, policy, storage::calls};
use crate::{context::Context, error::Error};

/// The grant for an act with this call.
pub(crate) struct CallGrant {
    pub(crate) scope: OrgScope,
    pub(crate) facts: MemberContext,
    pub(crate) call: Call,
}

/// Loads a call that the caller may see.
pub(crate) async fn load_visible(
    context: &Context,
    tx: &Tx,
    caller: &Caller,
    org: OrgId,
    id: CallId,
) -> Result<CallGrant, Error> {
    let facts = context.roster.caller_context(tx, caller, org).await?;
    let scope = authorize(caller, org, policy::list(&facts))?;
    let call = calls::find(tx, &scope, id).await?.ok_or(Error::Unknown(id))?;
    let scope = authorize(caller, org, policy::see(&facts, &call))?;
    Ok(CallGrant { scope, facts, call })
}

/// Loads a call that the caller may cancel and announce, and locks its row. Canceled calls are found too.
pub(crate) async fn load_managed(
    context: &Context,
    tx: &Tx,
    caller: &Caller,
    org: OrgId,
    id: CallId,
) -> Result<CallGrant, Error> {
    let facts = context.roster.caller_context(tx, caller, org).await?;
    let scope = authorize(caller, org, policy::list(&facts))?;
    let call = calls::lock(tx, &scope, id).await?.ok_or(Error::Unknown(id))?;
    authorize(caller, org, policy::see(&facts, &call))?;
    let scope = authorize(caller, org, policy::manage(&facts, &call))?;
    Ok(CallGrant { scope, facts, call })
}
