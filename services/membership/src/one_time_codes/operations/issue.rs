use parta_access::{OrgScope, authorize};
use parta_database::Tx;
use parta_edge::{Mutation, Stored};
use parta_ids::{MemberId, OrgId, Uuid};
use parta_roster::State;
use serde::{Deserialize, Serialize};

use super::{KIND, audit, awaits_confirmation, home_units, is_operator, member_facts};
use crate::{
    context::{Context, Run},
    error::Error,
    guardianships,
    member_records::{self, storage as records},
    notices::{self, Notice},
    one_time_codes::{
        model::{CODE_LIFE, CodeState, IssuedBy, OneTimeCode},
        policy, secret, storage,
    },
    sessions,
};

/// Gives a code to a member, or requests one for a member of the staff.
#[derive(Debug)]
pub(crate) struct IssueOneTimeCode {
    pub(crate) org_id: OrgId,
    pub(crate) member_id: MemberId,
}

/// The outcome of IssueOneTimeCode.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Issued {
    code_id: Uuid,
    /// Whether the response has the text of the code.
    shown: bool,
}

impl Stored for Issued {}

#[derive(Debug)]
pub(crate) struct IssuedView {
    pub(crate) code: OneTimeCode,
    /// `None` if the caller does not get the text, or the code can no longer be used.
    pub(crate) text: Option<String>,
}

/// The proof that the caller may give a code to the member.
pub(crate) struct MayIssue {
    scope: OrgScope,
    /// `None` for the operator.
    own: Option<MemberId>,
    by: IssuedBy,
}

impl IssueOneTimeCode {
    /// The code to store: a new one, or the requested one, which the second person issues.
    fn decide(
        &self,
        context: &Context,
        tx: &Tx,
        grant: &MayIssue,
        (mut code, present): (OneTimeCode, Option<OneTimeCode>),
    ) -> Result<OneTimeCode, Error> {
        match (grant.by, grant.own) {
            (IssuedBy::Operator, Some(_)) => return Err(Error::code_of_operator()),
            (IssuedBy::Operator, None) | (IssuedBy::LeaderOrAdministration, Some(_)) => {}
            (_, None) => return Err(Error::code_of_school()),
            (IssuedBy::TwoOfAdministration, Some(own)) => {
                let requested = present.filter(|row| {
                    row.state(tx.now()) == CodeState::Requested && row.account_id == code.account_id
                });
                let Some(requested) = requested else {
                    code.requester_id = Some(own);
                    return Ok(code);
                };
                if requested.requester_id == Some(own) {
                    return Err(Error::second_person_required());
                }
                // A code of its own: the requester has an outcome with the id of the request.
                code.requester_id = requested.requester_id;
                code.create_time = requested.create_time;
            }
        }
        code.issuer_id = grant.own;
        code.digest = Some(secret::digest(&secret::text(&context.secrets, code.code_id)));
        Ok(code)
    }
}

impl Mutation for IssueOneTimeCode {
    type Context = Context;
    type Grant = MayIssue;
    type Outcome = Issued;
    type View = IssuedView;
    type Error = Error;

    async fn authorize(&self, run: Run<'_>) -> Result<MayIssue, Error> {
        let Run { context, tx, caller } = run;
        let org = self.org_id;
        if is_operator(caller) {
            let member = member_facts(context, tx, org, self.member_id).await?;
            return Ok(MayIssue {
                scope: authorize(caller, org, policy::by_operator())?,
                own: None,
                by: policy::issued_by(&member),
            });
        }
        let facts = context.facts(tx, caller, org).await?;
        let member = member_facts(context, tx, org, self.member_id).await?;
        let home = home_units(context, tx, &member).await?;
        let scope = authorize(caller, org, policy::issue(&facts, &member, &home))?;
        let own = facts.member_id;
        if own == self.member_id
            || awaits_confirmation(caller)
            || guardianships::are_family(tx, &scope, own, self.member_id).await?
        {
            return Err(Error::second_person_required());
        }
        Ok(MayIssue {
            scope,
            own: Some(own),
            by: policy::issued_by(&member),
        })
    }

    async fn act(&self, run: Run<'_>, grant: &MayIssue) -> Result<Issued, Error> {
        let Run { context, tx, caller } = run;
        // Both rows, in the order of their ids, so that neither the right nor the roles change meanwhile.
        records::lock_all(
            tx,
            &grant.scope,
            [grant.own.unwrap_or(self.member_id), self.member_id],
        )
        .await?;
        let member = member_records::lock_present(tx, &grant.scope, self.member_id).await?;
        let grant = self.authorize(run).await?;
        let account = member.account_id.filter(|_| member.state == State::Active);
        let now = tx.now();
        let present = storage::lock(tx, &grant.scope, self.member_id).await?;
        let code = OneTimeCode {
            org_id: self.org_id,
            member_id: self.member_id,
            code_id: tx.env().ids.uuid(),
            account_id: account.ok_or_else(Error::code_without_account)?,
            requester_id: None,
            issuer_id: None,
            create_time: now,
            expire_time: now + CODE_LIFE,
            digest: None,
            used: None,
            confirm_time: None,
            confirmer_id: None,
        };
        let earlier = present.as_ref().filter(|row| row.confirm_time.is_none());
        let unconfirmed = earlier.and_then(|row| row.used);
        let code = self.decide(context, tx, &grant, (code, present))?;
        if let Some(used) = unconfirmed {
            // Nobody could confirm or revoke it any more, because the row names the new code.
            sessions::end_code_session(run, used.session_id).await?;
        }
        storage::upsert(tx, &grant.scope, &code).await?;
        audit(tx, caller, &code).await?;
        let shown = code.digest.is_some();
        if shown {
            let notice = Notice::CodeIssued {
                member_id: self.member_id,
                recipient_id: None,
            };
            notices::deliver(tx, self.org_id, notice).await?;
        }
        Ok(Issued {
            code_id: code.code_id,
            shown,
        })
    }

    async fn view(&self, run: Run<'_>, grant: &MayIssue, outcome: &Issued) -> Result<IssuedView, Error> {
        let Run { context, tx, .. } = run;
        let code = storage::find(tx, &grant.scope, self.member_id).await?;
        let code = code.ok_or_else(|| Error::unknown(KIND, self.member_id))?;
        let is_usable = code.code_id == outcome.code_id && code.state(tx.now()) == CodeState::Issued;
        let text = (outcome.shown && is_usable).then(|| secret::text(&context.secrets, code.code_id));
        Ok(IssuedView { code, text })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcome_has_its_golden_form() {
        let issued = Issued {
            code_id: Uuid::from_u128(1),
            shown: true,
        };
        let stored = issued.encode().unwrap();
        let form = "\u{1}{\"code_id\":\"00000000-0000-0000-0000-000000000001\",\"shown\":true}";
        assert_eq!(stored, form.as_bytes());
        assert_eq!(Issued::decode(&stored).unwrap(), issued);
    }
}
