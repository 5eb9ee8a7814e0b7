//! Steps that several acts on roles and verifications share.
use std::collections::BTreeSet;

use parta_access::{Caller, OrgScope, authorize};
use parta_database::Tx;
use parta_edge::Stored;
use parta_ids::{MemberId, OrgId};
use parta_roster::{MemberContext, State};
use parta_status::RpcError;
use serde::{Deserialize, Serialize};

use super::policy;
use crate::{
    context::Run,
    enrollments,
    error::Error,
    member_records::{self, Member, MemberView, events, storage},
    suspensions,
};

/// The outcome of a change of a member.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Changed {
    pub(super) member_id: MemberId,
}

impl Stored for Changed {}

/// Decides whether the caller may change roles of this member.
pub(super) async fn decide(
    run: Run<'_>,
    facts: &MemberContext,
    (org, member): (OrgId, MemberId),
) -> Result<OrgScope, RpcError> {
    let Run { context, tx, caller } = run;
    // An administrator learns whether there is such a member, others only that they may not do it.
    let nobody = || MemberContext::new(org, member, State::Left, []);
    let of_member = context.contexts_of(tx, org, member).await?;
    let decision = policy::administer(facts, &of_member.unwrap_or_else(nobody));
    authorize(caller, org, decision)
}

/// Returns the teachers of whom the caller may read requests and announced ends; `None` for all.
pub(super) async fn readable(
    run: Run<'_>,
    org: OrgId,
) -> Result<(OrgScope, Option<BTreeSet<MemberId>>), Error> {
    let Run { context, tx, caller } = run;
    let facts = context.facts(tx, caller, org).await?;
    let scope = authorize(caller, org, policy::list_requests(&facts))?;
    let among = (!facts.is_administration()).then(|| BTreeSet::from([facts.member_id]));
    Ok((scope, among))
}

/// Saves a changed member, publishes and audits the change.
pub(super) async fn save(
    tx: &Tx,
    caller: &Caller,
    scope: &OrgScope,
    mut member: Member,
) -> Result<Changed, Error> {
    storage::update(tx, scope, &mut member).await?;
    events::changed(tx, &member).await?;
    parta_audit::record_within(tx, caller, member.org_id, format!("members/{}", member.id)).await?;
    Ok(Changed { member_id: member.id })
}

pub(super) async fn audit(tx: &Tx, caller: &Caller, org: OrgId, member: MemberId) -> Result<(), Error> {
    parta_audit::record_within(tx, caller, org, format!("members/{member}")).await?;
    Ok(())
}

/// Loads a member, also one who has left, with the units in which the member is enrolled.
pub(crate) async fn load(tx: &Tx, scope: &OrgScope, id: MemberId) -> Result<MemberView, Error> {
    let member = storage::find(tx, scope, id).await?;
    let member = member.ok_or_else(|| Error::unknown("member", id))?;
    let mut units = enrollments::units_of(tx, scope, &[id]).await?;
    let absent = suspensions::absent(tx, scope, std::slice::from_ref(&member)).await?;
    let namesakes = member_records::namesakes_of_staff(tx, scope, std::slice::from_ref(&member)).await?;
    Ok(MemberView {
        namesake_of_staff: namesakes.contains(&id),
        absent: absent.contains(&id),
        member,
        units: units.remove(&id).unwrap_or_default(),
    })
}
