use parta_access::OrgScope;
use parta_database::Tx;
use parta_edge::{Act, UnclaimedMutation};
use parta_ids::{OrgId, SessionId, Uuid};
use parta_roster::{MemberContext, State};

use super::{audit, home_units};
use crate::{
    accounts,
    context::{Context, Run},
    endings,
    error::Error,
    guardianships,
    member_records::storage as records,
    notices::{self, Notice},
    one_time_codes::{
        model::{CodeState, IssuedBy, OneTimeCode, REPLAY, Use},
        policy, secret, storage,
    },
    sessions::{self, NewSession},
    sign_in,
};

const ACTOR: &str = "membership.redeem_one_time_code";

/// Starts a session by a code. A wrong code is refused, and its count must be committed, which a mutation
/// with a claimed `request_id` cannot do. Instead, the code itself keeps the `request_id` of its use.
pub(crate) struct RedeemOneTimeCode {
    pub(crate) request_id: Uuid,
    pub(crate) text: String,
}

#[derive(Debug)]
pub(crate) struct Redeemed {
    pub(crate) org_id: OrgId,
    pub(crate) tokens: NewSession,
    /// The sessions of the account that ended, by the ids in their tokens. Their tokens are refused after the
    /// commit.
    pub(crate) ended: Vec<SessionId>,
}

/// Whether the people who gave the code may still give one to the member, and the account is still the
/// member's. Facts whose ending is overdue count as ended.
async fn may_be_used(
    context: &Context,
    tx: &Tx,
    scope: &OrgScope,
    code: &OneTimeCode,
) -> Result<bool, Error> {
    let org = code.org_id;
    let row = records::find(tx, scope, code.member_id).await?;
    let is_holder =
        row.is_some_and(|row| row.state == State::Active && row.account_id == Some(code.account_id));
    let facts = context.contexts_of(tx, org, code.member_id).await?;
    let Some(member) = facts.filter(|facts| is_holder && facts.is_active()) else {
        return Ok(false);
    };
    // The person has an address again and needs no code.
    if accounts::has_replaced_address_since(tx, code.account_id, code.create_time).await? {
        return Ok(false);
    }
    if endings::require_punctual(tx, org, tx.now()).await.is_err() {
        return Ok(false);
    }
    let by = policy::issued_by(&member);
    let Some(issuer) = code.issuer_id else {
        return Ok(by == IssuedBy::Operator);
    };
    let needs_two = by == IssuedBy::TwoOfAdministration;
    if by == IssuedBy::Operator || (needs_two && code.requester_id.is_none()) {
        return Ok(false);
    }
    let home = home_units(context, tx, &member).await?;
    for id in [Some(issuer), code.requester_id].into_iter().flatten() {
        let facts = context.contexts_of(tx, org, id).await?;
        let may_issue = |facts: MemberContext| policy::issue(&facts, &member, &home).is_allowed();
        if !facts.is_some_and(may_issue) || guardianships::are_family(tx, scope, id, code.member_id).await? {
            return Ok(false);
        }
    }
    Ok(true)
}

impl RedeemOneTimeCode {
    /// A repetition of the call that used the code.
    async fn repeat(&self, context: &Context, tx: &Tx, used: Use) -> Result<Option<NewSession>, Error> {
        if used.request_id != self.request_id || tx.now() - used.time > REPLAY {
            return Ok(None);
        }
        sessions::first_tokens(context, tx, used.session_id).await
    }

    /// `None` for a code that cannot be used.
    async fn redeem(&self, run: Run<'_>) -> Result<Option<Redeemed>, Error> {
        let Run { context, tx, caller } = run;
        let code = storage::lock_by_digest(tx, secret::digest(&self.text)).await?;
        let Some(mut code) = code else { return Ok(None) };
        let org_id = code.org_id;
        if let Some(used) = code.used {
            let tokens = self.repeat(context, tx, used).await?;
            return Ok(tokens.map(|tokens| Redeemed {
                org_id,
                tokens,
                ended: Vec::new(),
            }));
        }
        // The caller has no credential. The code names the organization.
        let scope = &OrgScope::for_consumer(ACTOR, org_id);
        let is_issued = code.state(tx.now()) == CodeState::Issued;
        if !is_issued || !may_be_used(context, tx, scope, &code).await? {
            return Ok(None);
        }
        let (session_id, ended) = sessions::start_by_code(run, code.account_id, org_id).await?;
        code.used = Some(Use {
            session_id,
            time: tx.now(),
            request_id: self.request_id,
        });
        storage::upsert(tx, scope, &code).await?;
        let notice = Notice::CodeUsed {
            member_id: code.member_id,
            recipient_id: None,
        };
        notices::deliver(tx, org_id, notice).await?;
        audit(tx, caller, &code).await?;
        let tokens = sessions::first_tokens(context, tx, session_id).await?;
        Ok(tokens.map(|tokens| Redeemed {
            org_id,
            tokens,
            ended,
        }))
    }
}

impl UnclaimedMutation for RedeemOneTimeCode {
    type Context = Context;
    type View = Redeemed;
    type Error = Error;

    async fn run(&self, run: Run<'_>) -> Result<Act<Redeemed>, Error> {
        sign_in::require_attempt(run).await?;
        if let Some(redeemed) = self.redeem(run).await? {
            return Ok(Act::Done(redeemed));
        }
        sign_in::count_wrong_attempt(run).await?;
        Ok(Act::RefusedButKept(Error::code_wrong().into()))
    }
}
