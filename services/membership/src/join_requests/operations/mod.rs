//! Joining: the request, the decision about it, and its effects.
mod decide;
mod end;
mod enter;
mod join;
mod own;
mod read;

pub(crate) use decide::{DecideJoinRequests, decided};
pub(crate) use end::{EndInvitations, require_not_ended};
pub(crate) use enter::{create_request, enter, forget, had_role, is_same_person, present_by};
pub(crate) use join::claim_needs_decision;
pub(crate) use own::{ListOwnJoinRequests, OwnRequest, WithdrawJoinRequest};
pub(crate) use read::ListJoinRequests;

use std::collections::BTreeSet;

use parta_access::{Caller, OrgScope, authorize};
use parta_database::Tx;
use parta_ids::{JoinRequestId, OrgId, UnitId};
use parta_roster::MemberContext;

use super::policy;
use crate::{context::Run, error::Error};

const KIND: &str = "join request";

/// The proof that the caller may read requests of the organization.
pub(crate) struct MayRead {
    scope: OrgScope,
    facts: MemberContext,
    /// The home units that the caller leads otherwise than as a substitute.
    home: BTreeSet<UnitId>,
}

async fn may_read(run: Run<'_>, org: OrgId) -> Result<MayRead, Error> {
    let Run { context, tx, caller } = run;
    let facts = context.facts(tx, caller, org).await?;
    let scope = authorize(caller, org, policy::list(&facts))?;
    let home = context
        .roster
        .home_units(tx, org, &facts.class_teacher_of)
        .await?;
    Ok(MayRead { scope, facts, home })
}

fn unknown(id: JoinRequestId) -> Error {
    Error::unknown(KIND, id)
}

async fn audit(tx: &Tx, caller: &Caller, org: OrgId, id: JoinRequestId) -> Result<(), Error> {
    let object = format!("organizations/{org}/joinRequests/{id}");
    Ok(parta_audit::record(tx, caller, Some(org), object).await?)
}
