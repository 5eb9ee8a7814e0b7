//! The lock of a member's sign-in, which wrong codes set and the administration lifts.
use std::collections::BTreeSet;

use parta_access::{Caller, OrgScope, authorize};
use parta_database::Tx;
use parta_edge::Mutation;
use parta_ids::{MemberId, OrgId};
use parta_roster::State;

use crate::{
    accounts,
    context::Context,
    error::Error,
    member_records::{self, storage},
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
    type Grant = (OrgScope, MemberId);
    type Outcome = Unlocked;
    type View = bool;
    type Error = Error;

    async fn authorize(
        &self,
        context: &Context,
        tx: &Tx,
        caller: &Caller,
    ) -> Result<(OrgScope, MemberId), Error> {
        let facts = context.facts(tx, caller, self.org_id).await?;
        let scope = authorize(caller, self.org_id, member_records::manage(&facts))?;
        Ok((scope, facts.member_id))
    }

    async fn act(
        &self,
        context: &Context,
        tx: &Tx,
        caller: &Caller,
        (scope, own): &(OrgScope, MemberId),
    ) -> Result<Unlocked, Error> {
        if *own == self.member_id {
            return Err(Error::second_person_required());
        }
        // Both rows, in the order of their ids, so that the caller does not lose the right meanwhile.
        let mut member = None;
        for id in BTreeSet::from([*own, self.member_id]) {
            let row = storage::lock(tx, scope, id).await?;
            member = member.or(row.filter(|row| row.id == self.member_id));
        }
        let member = member.ok_or_else(|| Error::unknown("member", self.member_id))?;
        self.authorize(context, tx, caller).await?;
        if member.state == State::Left {
            return Err(Error::member_left());
        }
        // Nobody signs in as a person who is only expected.
        let addresses = match member.account_id {
            Some(account) => accounts::addresses(tx, account).await?,
            None => Vec::new(),
        };
        let was_locked = sign_in::unlock(context, tx, &addresses).await?;
        let object = format!("organizations/{}/members/{}", self.org_id, self.member_id);
        parta_audit::record(tx, caller, Some(self.org_id), object).await?;
        Ok(Unlocked { was_locked })
    }

    async fn view(
        &self,
        _: &Context,
        _: &Tx,
        _: &(OrgScope, MemberId),
        outcome: &Unlocked,
    ) -> Result<bool, Error> {
        Ok(outcome.was_locked)
    }
}
