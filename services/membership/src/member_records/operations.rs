use std::collections::BTreeSet;

use parta_access::{OrgScope, Principal, belongs};
use parta_database::Tx;
use parta_edge::Mutation;
use parta_ids::{InvitationId, MemberId, OrgId};
use parta_roster::{DutyFunction, MemberContext, Role, State};
use parta_status::{RpcError, not_found};

use super::{
    Member,
    combination::may_combine,
    events, name_key,
    policy::{self, Visibility},
    storage,
};
use crate::{
    context::{Context, Decider, Run},
    error::Error,
};

/// Locks a member who has not left.
pub(crate) async fn lock_present(tx: &Tx, scope: &OrgScope, id: MemberId) -> Result<Member, Error> {
    require_present(storage::lock(tx, scope, id).await?, id)
}

fn require_present(member: Option<Member>, id: MemberId) -> Result<Member, Error> {
    let member = member.ok_or_else(|| Error::unknown("member", id))?;
    if member.state == State::Left {
        return Err(Error::member_left());
    }
    Ok(member)
}

/// Locks a member about whom a mutation decides, and authorizes the mutation again, because the caller may
/// have lost the right before the lock. Refuses a member who is unknown or has left.
pub(crate) async fn lock_to_decide<M>(
    mutation: &M,
    run: Run<'_>,
    (scope, id): (&OrgScope, MemberId),
) -> Result<Member, Error>
where
    M: Mutation<Context = Context, Error = Error>,
{
    let member = storage::lock(run.tx, scope, id).await?;
    mutation.authorize(run).await?;
    require_present(member, id)
}

/// Like [`lock_to_decide`], but also locks the record of the caller: of two members who decide about each
/// other, one comes first, and the caller keeps the right until the commit. Refuses a decision about
/// their own person.
pub(crate) async fn lock_both_to_decide<M>(
    mutation: &M,
    run: Run<'_>,
    (decider, id): (&Decider, MemberId),
) -> Result<Member, Error>
where
    M: Mutation<Context = Context, Error = Error>,
{
    decider.require_second_person(id)?;
    let mut rows = storage::lock_all(run.tx, &decider.scope, [decider.member_id, id]).await?;
    mutation.authorize(run).await?;
    require_present(rows.remove(&id), id)
}

/// Gives a role to a person who has a record, which is locked. If the person had left, another membership
/// begins and nothing of the earlier one comes back. Every act by which a person can return calls this.
pub(crate) async fn join_again(
    tx: &Tx,
    scope: &OrgScope,
    member: &mut Member,
    role: Role,
    invitation_id: Option<InvitationId>,
) -> Result<(), Error> {
    if member.state == State::Left {
        member.begin_again(invitation_id);
    }
    // An adult student may be a parent already, and becomes one of another child.
    let is_new = !member.has(role);
    member.grant(role);
    if is_new && !may_combine(&member.roles, false) {
        return Err(Error::role_combination());
    }
    storage::update(tx, scope, member).await?;
    events::changed(tx, member).await
}

/// Those of these members who have the name of another member who works in the organization.
pub(crate) async fn namesakes_of_staff(
    tx: &Tx,
    scope: &OrgScope,
    members: &[Member],
) -> Result<BTreeSet<MemberId>, Error> {
    let keys: Vec<(MemberId, String)> = members
        .iter()
        .map(|member| (member.id, name_key(&member.full_name)))
        .collect();
    let wanted = keys.iter().map(|(_, key)| key.clone()).collect();
    let staff = storage::staff_with_names(tx, scope, wanted).await?;
    let is_namesake =
        |(id, key): &(MemberId, String)| staff.iter().any(|(other, name)| other != id && name == key);
    Ok(keys.into_iter().filter(is_namesake).map(|(id, _)| id).collect())
}

/// The members who work in the organization and have a name that looks like one of these, with the keys of
/// their names.
pub(crate) async fn staff_named(
    tx: &Tx,
    scope: &OrgScope,
    names: impl IntoIterator<Item = &str>,
) -> Result<Vec<(MemberId, String)>, Error> {
    let keys = names.into_iter().map(name_key).collect();
    Ok(storage::staff_with_names(tx, scope, keys).await?)
}

/// Removes the adults of protected families, who are in no list that families see (R83), but for the member
/// and the member's own guardians.
async fn remove_protected(
    context: &Context,
    tx: &Tx,
    facts: &MemberContext,
    visible: &mut BTreeSet<MemberId>,
) -> Result<(), RpcError> {
    let mut hidden = context.roster.protected_adults(tx, facts.org_id).await?;
    hidden.retain(|adult| visible.contains(adult) && *adult != facts.member_id);
    let ids: Vec<MemberId> = hidden.iter().copied().collect();
    for adult in context.roster.contexts_of(tx, facts.org_id, &ids).await? {
        if !adult.is_guardian_of(facts.member_id) {
            visible.remove(&adult.member_id);
        }
    }
    Ok(())
}

/// The members whom the caller may see: these, or everybody (`None`).
pub(crate) async fn visible_members(
    run: Run<'_>,
    org: OrgId,
) -> Result<(OrgScope, Option<BTreeSet<MemberId>>), RpcError> {
    let Run { context, tx, caller } = run;
    // The rule of the RPC has checked the permission.
    if let Principal::ServiceAccount { .. } = caller.acting() {
        let scope = belongs(caller, org)?;
        let protected = context.roster.protected_adults(tx, org).await?;
        if protected.is_empty() {
            return Ok((scope, None));
        }
        let mut visible = storage::list_ids(tx, &scope).await?;
        visible.retain(|id| !protected.contains(id));
        return Ok((scope, Some(visible)));
    }
    let facts = context.facts(tx, caller, org).await?;
    let scope = belongs(caller, org)?;
    let visibility = policy::visibility(&facts).ok_or_else(|| not_found("organization", org))?;
    let mut visible = BTreeSet::from([facts.member_id]);
    match visibility {
        Visibility::AllMembers => return Ok((scope, None)),
        Visibility::StaffAndUnits => {
            let all = context.roster.all_members(tx, org).await?;
            let shown = |f: &&MemberContext| f.holds_staff_role() || facts.may(DutyFunction::Names, f);
            visible.extend(all.iter().filter(shown).map(|f| f.member_id));
        }
        Visibility::Units => {}
    }
    for unit in facts.visible_units() {
        visible.extend(context.roster.members_of_unit(tx, org, unit).await?);
    }
    if facts.roles.contains(&Role::Parent) {
        visible.extend(facts.children.iter().map(|child| child.member_id));
    }
    if !facts.is_staff() {
        remove_protected(context, tx, &facts, &mut visible).await?;
    }
    Ok((scope, Some(visible)))
}
