//! The lock of a member's sign-in, which wrong codes set and the administration lifts.
use parta_edge::Mutation;
use parta_ids::{MemberId, OrgId};

use crate::{
    accounts,
    context::{Context, Decider, Run},
    error::Error,
    member_records,
    sign_in::{self, Unlocked},
};

/// Lifts the locks of the addresses of a member. The caller does not learn the addresses.
#[derive(Debug)]
pub(crate) struct UnlockMember {
    pub(crate) org_id: OrgId,
    pub(crate) member_id: MemberId,
}

impl Mutation for UnlockMember {
    type Context = Context;
    type Grant = Decider;
    type Outcome = Unlocked;
    type View = bool;
    type Error = Error;

    async fn authorize(&self, run: Run<'_>) -> Result<Decider, Error> {
        let Run { context, tx, caller } = run;
        let decider = context.authorize(tx, caller, self.org_id, member_records::manage);
        Ok(decider.await?)
    }

    async fn act(&self, run: Run<'_>, decider: &Decider) -> Result<Unlocked, Error> {
        let Run { context, tx, caller } = run;
        let both = (decider, self.member_id);
        let member = member_records::lock_both_to_decide(self, run, both).await?;
        // Nobody signs in as a person who is only expected.
        let addresses = match member.account_id {
            Some(account) => accounts::addresses(tx, account).await?,
            None => Vec::new(),
        };
        let was_locked = sign_in::unlock(context, tx, &addresses).await?;
        parta_audit::record_within(tx, caller, self.org_id, format!("members/{}", self.member_id)).await?;
        Ok(Unlocked { was_locked })
    }

    async fn view(&self, _: Run<'_>, _: &Decider, outcome: &Unlocked) -> Result<bool, Error> {
        Ok(outcome.was_locked)
    }
}
