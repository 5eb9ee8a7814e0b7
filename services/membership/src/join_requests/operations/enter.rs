use chrono::TimeDelta;
use parta_access::{Caller, OrgScope};
use parta_database::Tx;
use parta_ids::{AccountId, InvitationId, JoinRequestId, MemberId};
use parta_roster::{Role, State};

use super::{
    super::{
        events,
        model::{JoinRequest, REQUEST_PERIOD, REQUESTS_MAX, RequestState, Terms},
        storage,
    },
    audit,
    join::Claiming,
};
use crate::{
    accounts, enrollments,
    error::Error,
    guardianships,
    member_records::{self, LeaveReason, Member, storage as members},
};

/// Makes an account a member on the terms of an invitation. If another link makes the same person a member
/// meanwhile, the second run finds the member.
pub(crate) async fn enter(
    tx: &Tx,
    scope: &OrgScope,
    terms: &Terms,
    account: AccountId,
) -> Result<MemberId, Error> {
    let member_id = upsert_member(tx, scope, terms, account).await?.id;
    storage::upsert_admission(tx, scope, terms.invitation_id, account, member_id, tx.now()).await?;
    if let Some(unit) = terms.unit_id.filter(|_| terms.role == Role::Pupil) {
        enrollments::begin(tx, scope, member_id, unit).await?;
    }
    if let Some(child) = terms.child_id.filter(|_| terms.role == Role::Parent) {
        guardianships::establish(tx, scope, member_id, child).await?;
    }
    Ok(member_id)
}

/// Saves the one record of the person: the one that exists, with an expected one that is claimed, the
/// expected one, or a new one.
async fn upsert_member(
    tx: &Tx,
    scope: &OrgScope,
    terms: &Terms,
    account: AccountId,
) -> Result<Member, Error> {
    if let Some(claim) = terms.claim_member_id
        && let Some(claiming) = Claiming::lock(tx, scope, claim, account).await?
    {
        return claiming.join(tx, scope).await;
    }
    let present = members::lock_by_account(tx, scope, account).await?;
    if let Some(claim) = terms.claim_member_id {
        let found = members::lock(tx, scope, claim).await?;
        let free = found.filter(|row| row.account_id.is_none() && row.state == State::Expected);
        // No second person gets the record, and no member a second record.
        let (Some(mut row), None | Some(State::Left)) = (free, present.as_ref().map(|row| row.state)) else {
            return Err(Error::already_claimed());
        };
        // A person who left and is expected again continues as the expected member; the record of then
        // stays.
        if let Some(mut left) = present {
            left.account_id = None;
            members::update(tx, scope, &mut left).await?;
        }
        row.claim(account, terms.invitation_id, tx.now());
        member_records::join_again(tx, scope, &mut row, terms.role, Some(terms.invitation_id)).await?;
        return Ok(row);
    }
    if let Some(mut row) = present {
        member_records::join_again(tx, scope, &mut row, terms.role, Some(terms.invitation_id)).await?;
        return Ok(row);
    }
    let known = accounts::find(tx, account).await?;
    let known = known.ok_or_else(|| Error::unknown("account", account))?;
    let (id, now) = (tx.env().id(), tx.now());
    let mut row = Member::new(terms.org_id, id, &known.full_name, State::Active, terms.role, now);
    row.account_id = Some(account);
    row.invitation_id = Some(terms.invitation_id);
    members::insert(tx, scope, &row).await?;
    member_records::events::admitted(tx, &row).await?;
    Ok(row)
}

/// The member that an account became by an invitation, unless the member has left since.
pub(crate) async fn present_by(
    tx: &Tx,
    scope: &OrgScope,
    invitation: InvitationId,
    account: AccountId,
) -> Result<Option<MemberId>, Error> {
    let Some(id) = storage::find_admission(tx, scope, invitation, account).await? else {
        return Ok(None);
    };
    let member = members::find(tx, scope, id).await?;
    Ok(member
        .filter(|member| member.state != State::Left)
        .map(|member| member.id))
}

/// Whether an account and a member are one person, as far as their addresses show: they have one in common.
pub(crate) async fn is_same_person(
    tx: &Tx,
    scope: &OrgScope,
    member: MemberId,
    account: AccountId,
) -> Result<bool, Error> {
    let member = members::find(tx, scope, member).await?;
    let Some(held) = member.and_then(|member| member.account_id) else {
        return Ok(false);
    };
    Ok(held == account || accounts::list_sharing_address(tx, account).await?.contains(&held))
}

/// Forgets by which invitations an account became this member, because the record was released from it. The
/// same link does not give it back to the account.
pub(crate) async fn forget(
    tx: &Tx,
    scope: &OrgScope,
    account: AccountId,
    member: MemberId,
) -> Result<(), Error> {
    Ok(storage::delete_admissions(tx, scope, account, member).await?)
}

/// Whether a decision took this role from the person, or ended a membership with it, or did so to another
/// person with the same address. A link is not enough for such a person to come back (R18).
pub(crate) async fn had_role(
    tx: &Tx,
    scope: &OrgScope,
    account: AccountId,
    role: Role,
) -> Result<bool, Error> {
    for known in accounts::list_sharing_address(tx, account).await? {
        let member = members::find_by_account(tx, scope, known).await?;
        let was_removed = |member: &Member| match member.state {
            State::Left => match member.leave_reason {
                Some(LeaveReason::Source) => false,
                // Another person may have the address of the deceased now.
                Some(LeaveReason::Deceased) if known == account => true,
                _ => member.has(role),
            },
            _ => member.revoked_roles.contains(&role),
        };
        if member.as_ref().is_some_and(was_removed) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Refuses another request by the same invitation too soon. An account has one pending request by it, so that
/// no two calls count at a time.
async fn require_patience(
    tx: &Tx,
    scope: &OrgScope,
    invitation: InvitationId,
    account: AccountId,
) -> Result<(), Error> {
    let times = storage::list_request_times(tx, scope, invitation, account, REQUESTS_MAX).await?;
    let counted = times.len() as u64 == REQUESTS_MAX;
    let Some(earliest) = times.last().filter(|_| counted) else {
        return Ok(());
    };
    let wait = *earliest + REQUEST_PERIOD - tx.now();
    if wait > TimeDelta::zero() {
        return Err(Error::too_many_requests(wait));
    }
    Ok(())
}

/// Makes the request of an account to join on these terms, or finds the pending one.
pub(crate) async fn create_request(
    tx: &Tx,
    scope: &OrgScope,
    caller: &Caller,
    terms: &Terms,
    account: AccountId,
) -> Result<JoinRequestId, Error> {
    if let Some(pending) = storage::find_pending(tx, scope, terms.invitation_id, account).await? {
        return Ok(pending.id);
    }
    require_patience(tx, scope, terms.invitation_id, account).await?;
    let known = accounts::find(tx, account).await?;
    let known = known.ok_or_else(|| Error::unknown("account", account))?;
    let row = JoinRequest {
        id: tx.env().id(),
        account_id: account,
        full_name: known.full_name,
        terms: terms.clone(),
        returning: had_role(tx, scope, account, terms.role).await?,
        state: RequestState::Pending,
        create_time: tx.now(),
        decide_time: None,
        decider_id: None,
        member_id: None,
    };
    storage::insert(tx, scope, &row).await?;
    events::requested(tx, &row).await?;
    audit(tx, caller, terms.org_id, row.id).await?;
    Ok(row.id)
}
