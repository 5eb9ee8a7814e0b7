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

/// The proof that the caller may do an act with this call.
pub(crate) struct Granted {
    pub(crate) scope: OrgScope,
    pub(crate) facts: MemberContext,
    pub(crate) call: Call,
}

/// Loads a call that concerns the caller.
pub(crate) async fn seen(
    context: &Context,
    tx: &Tx,
    caller: &Caller,
    org: OrgId,
    id: CallId,
) -> Result<Granted, Error> {
    let facts = context.roster.caller_context(tx, caller, org).await?;
    let scope = authorize(caller, org, policy::list(&facts))?;
    let call = calls::find(tx, &scope, id).await?.ok_or(Error::Unknown(id))?;
    let scope = authorize(caller, org, policy::see(&facts, &call))?;
    Ok(Granted { scope, facts, call })
}

/// Loads a call that the caller may cancel and announce, and locks its row. Canceled calls are found too.
pub(crate) async fn managed(
    context: &Context,
    tx: &Tx,
    caller: &Caller,
    org: OrgId,
    id: CallId,
) -> Result<Granted, Error> {
    let facts = context.roster.caller_context(tx, caller, org).await?;
    let scope = authorize(caller, org, policy::list(&facts))?;
    let call = calls::lock(tx, &scope, id).await?.ok_or(Error::Unknown(id))?;
    authorize(caller, org, policy::see(&facts, &call))?;
    let scope = authorize(caller, org, policy::manage(&facts, &call))?;
    Ok(Granted { scope, facts, call })
}
