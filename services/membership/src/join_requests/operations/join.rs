//! A member who claims an expected record: both are of one person, who has one record (F10).
use std::collections::BTreeSet;

use parta_access::OrgScope;
use parta_database::Tx;
use parta_ids::{AccountId, MemberId};
use parta_roster::{Role, State};

use super::super::model::{Terms, same_name};
use crate::{
    assignments, departures, duties,
    error::Error,
    guardianships,
    member_records::{LeaveReason, Member, events, may_combine, storage as members},
    suspensions,
};

/// The record of a member and the expected record that the member claims. Both rows are locked.
pub(super) struct Claiming {
    member: Member,
    expected: Member,
}

impl Claiming {
    /// Locks both records. Returns `None` if the account is no member now, or if the record is not expected.
    pub(super) async fn lock(
        tx: &Tx,
        scope: &OrgScope,
        claim: MemberId,
        account: AccountId,
    ) -> Result<Option<Self>, Error> {
        let Some(known) = members::find_by_account(tx, scope, account).await? else {
            return Ok(None);
        };
        let mut rows = members::lock_all(tx, scope, [known.id, claim]).await?;
        let member = rows.remove(&known.id);
        let member = member.filter(|row| row.account_id == Some(account) && row.state != State::Left);
        let expected = rows.remove(&claim);
        let expected = expected.filter(|row| row.account_id.is_none() && row.state == State::Expected);
        Ok(member
            .zip(expected)
            .map(|(member, expected)| Self { member, expected }))
    }

    /// Whether one person may hold the roles of both.
    fn combines(&self) -> bool {
        let roles: BTreeSet<Role> = self.member.roles.union(&self.expected.roles).copied().collect();
        roles == self.member.roles || may_combine(&roles, false)
    }

    /// Whether the member can take over all that rests on the expected record. A pupil has a class, a birth
    /// date and guardians, and a duty names its holder by an order: staff decide which of two counts.
    async fn is_joinable(&self, tx: &Tx, scope: &OrgScope) -> Result<bool, Error> {
        let expected = &self.expected;
        let absent = suspensions::absent(tx, scope, std::slice::from_ref(expected)).await?;
        let duties = duties::lasting_of(tx, scope, expected.id).await?;
        Ok(!expected.has(Role::Pupil)
            && absent.is_empty()
            && duties.is_empty()
            && guardianships::may_hand_over(tx, scope, expected.id, self.member.id).await?)
    }

    /// Whether staff have to decide: the two cannot be joined, a decision took one of the roles, the member
    /// is suspended, or neither the name nor an address that staff wrote down shows that they are one person.
    async fn needs_decision(&self, tx: &Tx, scope: &OrgScope, is_addressed: bool) -> Result<bool, Error> {
        let (member, expected) = (&self.member, &self.expected);
        let agrees = is_addressed || same_name(&member.full_name, &expected.full_name);
        let keeps_decisions = expected.roles.is_disjoint(&member.revoked_roles);
        let absent = suspensions::absent(tx, scope, std::slice::from_ref(member)).await?;
        let at_once = agrees && keeps_decisions && absent.is_empty() && self.combines();
        Ok(!at_once || !self.is_joinable(tx, scope).await?)
    }

    /// Gives the member the roles, assignments and relations of the expected record, which leaves. The badge
    /// stays that of the member.
    pub(super) async fn join(self, tx: &Tx, scope: &OrgScope) -> Result<Member, Error> {
        if !self.combines() {
            return Err(Error::role_combination());
        }
        if !self.is_joinable(tx, scope).await? {
            return Err(Error::records_not_joinable());
        }
        let Self {
            mut member,
            mut expected,
        } = self;
        for role in &expected.roles {
            member.grant(*role);
        }
        members::update(tx, scope, &mut member).await?;
        events::changed(tx, &member).await?;
        assignments::hand_over(tx, scope, expected.id, member.id).await?;
        guardianships::hand_over(tx, scope, expected.id, member.id).await?;
        expected.joined_id = Some(member.id);
        departures::end_membership(tx, scope, &mut expected, LeaveReason::Decision).await?;
        Ok(member)
    }
}

/// Whether staff decide about the acceptance of a link that names a record, because the person is a member
/// already. `is_addressed` says that staff made the link for an address of the person.
pub(crate) async fn claim_needs_decision(
    tx: &Tx,
    scope: &OrgScope,
    terms: &Terms,
    account: AccountId,
    is_addressed: bool,
) -> Result<bool, Error> {
    let Some(claim) = terms.claim_member_id else {
        return Ok(false);
    };
    match Claiming::lock(tx, scope, claim, account).await? {
        Some(claiming) => claiming.needs_decision(tx, scope, is_addressed).await,
        None => Ok(false),
    }
}
