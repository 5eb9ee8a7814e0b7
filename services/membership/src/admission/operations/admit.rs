use parta_access::{Caller, OrgScope, service_scope};
use parta_database::Tx;
use parta_edge::{Mutation, Stored};
use parta_ids::{AccountId, MemberId};
use parta_roster::{Role, State};
use serde::{Deserialize, Serialize};

use crate::{
    accounts,
    admission::{model::Terms, storage},
    context::Context,
    enrollments,
    error::Error,
    guardianships,
    member_records::{self, Member, events, storage as members},
};

/// Makes the person of a join flow a member by an invitation. Only services call it.
#[derive(Debug)]
pub(crate) struct AdmitMember(pub(crate) Terms);

/// The outcome of AdmitMember, which is also its answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Admitted {
    pub(crate) member_id: MemberId,
    /// Whether the person had joined by this invitation before.
    pub(crate) already_member: bool,
}

impl Stored for Admitted {}

impl Mutation for AdmitMember {
    type Context = Context;
    type Grant = OrgScope;
    type Outcome = Admitted;
    type View = Admitted;
    type Error = Error;

    async fn authorize(&self, _: &Context, _: &Tx, caller: &Caller) -> Result<OrgScope, Error> {
        Ok(service_scope(caller, self.0.org_id)?)
    }

    async fn act(&self, _: &Context, tx: &Tx, caller: &Caller, scope: &OrgScope) -> Result<Admitted, Error> {
        let terms = &self.0;
        let account = storage::find_join_flow(tx, terms.flow_id).await?;
        let account = account.ok_or_else(Error::join_flow_unknown)?;
        if let Some(member_id) = storage::find(tx, scope, terms.invitation_id, account).await? {
            let member = members::find(tx, scope, member_id).await?;
            if member.is_none_or(|member| member.state == State::Left) {
                return Err(Error::member_left());
            }
            return Ok(Admitted {
                member_id,
                already_member: true,
            });
        }
        let member_id = upsert_member(tx, scope, terms, account).await?.id;
        storage::insert(tx, scope, terms.invitation_id, account, member_id, tx.now()).await?;
        if let Some(unit) = terms.unit_id.filter(|_| terms.role == Role::Pupil) {
            enrollments::begin(tx, scope, member_id, unit).await?;
        }
        if let Some(child) = terms.child_id.filter(|_| terms.role == Role::Parent) {
            guardianships::establish(tx, scope, member_id, child).await?;
        }
        let issuer = terms.issuer_id.map(|id| format!(" by members/{id}"));
        let org = terms.org_id;
        let object = format!(
            "organizations/{org}/members/{member_id}{}",
            issuer.unwrap_or_default()
        );
        parta_audit::record(tx, caller, Some(org), object).await?;
        Ok(Admitted {
            member_id,
            already_member: false,
        })
    }

    async fn view(&self, _: &Context, _: &Tx, _: &OrgScope, outcome: &Admitted) -> Result<Admitted, Error> {
        Ok(outcome.clone())
    }
}

/// Saves the one record of the person: an expected one that is claimed, the one that exists, or a new one.
async fn upsert_member(
    tx: &Tx,
    scope: &OrgScope,
    terms: &Terms,
    account: AccountId,
) -> Result<Member, Error> {
    let present = members::lock_by_account(tx, scope, account).await?;
    if let Some(claim) = terms.claim_member_id {
        let found = members::lock(tx, scope, claim).await?;
        let free = found.filter(|row| row.account_id.is_none() && row.state == State::Expected);
        // A person who is a member already does not become a second one.
        let (Some(mut row), None) = (free, &present) else {
            return Err(Error::already_claimed());
        };
        row.account_id = Some(account);
        row.state = State::Active;
        row.roles.insert(terms.role);
        row.invitation_id = Some(terms.invitation_id);
        members::update(tx, scope, &mut row).await?;
        events::changed(tx, &row).await?;
        return Ok(row);
    }
    if let Some(mut row) = present {
        member_records::join_again(tx, scope, &mut row, terms.role, Some(terms.invitation_id)).await?;
        return Ok(row);
    }
    let known = accounts::find(tx, account).await?;
    let known = known.ok_or_else(Error::join_flow_unknown)?;
    let (id, now) = (tx.env().id(), tx.now());
    let mut row = Member::new(terms.org_id, id, &known.full_name, State::Active, terms.role, now);
    row.account_id = Some(account);
    row.invitation_id = Some(terms.invitation_id);
    // If another link makes the same person a member meanwhile, the second run finds the member.
    members::insert(tx, scope, &row).await?;
    events::admitted(tx, &row).await?;
    Ok(row)
}

#[cfg(test)]
mod tests {
    use parta_ids::{TypedId as _, Uuid};

    use super::*;

    #[test]
    fn outcome_has_its_golden_form() {
        let admitted = Admitted {
            member_id: MemberId::from_uuid(Uuid::from_u128(1)),
            already_member: true,
        };
        let form = format!(
            "\u{1}{{\"member_id\":\"{}\",\"already_member\":true}}",
            admitted.member_id
        );
        let stored = admitted.encode().unwrap();
        assert_eq!(stored, form.as_bytes());
        assert_eq!(Admitted::decode(&stored).unwrap(), admitted);
    }
}
