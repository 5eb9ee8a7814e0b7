mod confirm;
mod issue;
mod read;
mod redeem;
mod revoke;

use std::collections::BTreeSet;

use parta_access::{Caller, Principal};
use parta_database::Tx;
use parta_ids::{MemberId, OrgId, UnitId};
use parta_roster::{MemberContext, Role, State};

use super::model::OneTimeCode;
use crate::{context::Context, error::Error};

pub(super) use confirm::ConfirmOneTimeCode;
pub(super) use issue::{IssueOneTimeCode, IssuedView};
pub(super) use read::GetOneTimeCode;
pub(super) use redeem::{RedeemOneTimeCode, Redeemed};
pub(super) use revoke::RevokeOneTimeCode;

const KIND: &str = "one-time code";

fn is_operator(caller: &Caller) -> bool {
    matches!(caller.acting(), Principal::Operator { .. })
}

/// Whether a code started the session of the call and nobody has confirmed it. The person who gave that code
/// could otherwise decide about the codes of others, as a guardian about that of the child.
fn awaits_confirmation(caller: &Caller) -> bool {
    caller.reads_since.is_some()
}

/// The facts about the member of a code; those of a stranger if there is no such member, which is for the
/// administration to know.
async fn member_facts(
    context: &Context,
    tx: &Tx,
    org: OrgId,
    member: MemberId,
) -> Result<MemberContext, Error> {
    let facts = context.contexts_of(tx, org, member).await?;
    Ok(facts.unwrap_or_else(|| MemberContext::new(org, member, State::Left, [])))
}

/// The home units whose leaders may give a code to the member: those of a pupil, and those of the children of
/// a parent.
async fn home_units(context: &Context, tx: &Tx, member: &MemberContext) -> Result<BTreeSet<UnitId>, Error> {
    let mut units = member.enrolled_in.clone();
    if member.roles.contains(&Role::Parent) {
        let children = member.children.iter();
        units.extend(children.flat_map(|child| child.units.iter().copied()));
    }
    Ok(context.roster.home_units(tx, member.org_id, &units).await?)
}

async fn audit(tx: &Tx, caller: &Caller, code: &OneTimeCode) -> Result<(), Error> {
    let object = format!("members/{}/oneTimeCode", code.member_id);
    Ok(parta_audit::record_within(tx, caller, code.org_id, object).await?)
}
