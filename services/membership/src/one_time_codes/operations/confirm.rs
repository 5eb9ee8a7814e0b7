use chrono::{DateTime, Utc};
use parta_access::{OrgScope, authorize};
use parta_edge::{Mutation, Stored};
use parta_ids::{MemberId, OrgId, Uuid};
use parta_roster::MemberContext;
use serde::{Deserialize, Serialize};

use super::{KIND, audit, awaits_confirmation, is_operator};
use crate::{
    context::{Context, Run},
    error::Error,
    guardianships,
    one_time_codes::{model::OneTimeCode, policy, storage},
    sessions,
};

/// Confirms that the right person has used a code.
#[derive(Debug)]
pub(crate) struct ConfirmOneTimeCode {
    pub(crate) org_id: OrgId,
    pub(crate) member_id: MemberId,
    /// The time of the use that the caller confirms.
    pub(crate) use_time: DateTime<Utc>,
}

/// The outcome of ConfirmOneTimeCode.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Confirmed {
    code_id: Uuid,
}

impl Stored for Confirmed {}

/// The proof that the caller may confirm the use of this code, whose row is locked.
pub(crate) struct MayConfirm {
    scope: OrgScope,
    /// `None` for the operator.
    own: Option<MemberId>,
    code: OneTimeCode,
}

impl ConfirmOneTimeCode {
    /// The facts about the caller, whether the caller is a guardian who may decide for the child, and the
    /// scope.
    async fn caller(&self, run: Run<'_>) -> Result<(OrgScope, MemberContext, bool), Error> {
        let Run { context, tx, caller } = run;
        let facts = context.facts(tx, caller, self.org_id).await?;
        let scope = parta_access::belongs(caller, self.org_id)?;
        let decides = facts.is_guardian_of(self.member_id)
            && guardianships::decides_for(tx, &scope, facts.member_id, self.member_id).await?;
        let scope = authorize(caller, self.org_id, policy::confirm(&facts, decides))?;
        Ok((scope, facts, decides))
    }
}

impl Mutation for ConfirmOneTimeCode {
    type Context = Context;
    type Grant = MayConfirm;
    type Outcome = Confirmed;
    type View = OneTimeCode;
    type Error = Error;

    async fn authorize(&self, run: Run<'_>) -> Result<MayConfirm, Error> {
        let Run { tx, caller, .. } = run;
        let unknown = || Error::unknown(KIND, self.member_id);
        if is_operator(caller) {
            let scope = authorize(caller, self.org_id, policy::by_operator())?;
            let code = storage::lock(tx, &scope, self.member_id)
                .await?
                .ok_or_else(unknown)?;
            // The operator who has seen the text is no second person.
            if code.issuer_id.is_none() && code.digest.is_some() {
                return Err(Error::second_person_required());
            }
            return Ok(MayConfirm {
                scope,
                own: None,
                code,
            });
        }
        let (scope, _, _) = self.caller(run).await?;
        let code = storage::lock(tx, &scope, self.member_id)
            .await?
            .ok_or_else(unknown)?;
        // The caller may have lost the right while the row was locked.
        let (scope, facts, decides) = self.caller(run).await?;
        let own = facts.member_id;
        let is_own_matter =
            own == self.member_id || guardianships::are_family(tx, &scope, own, self.member_id).await?;
        let is_second = decides || !(is_own_matter || code.issuer_id == Some(own));
        if !is_second || awaits_confirmation(caller) {
            return Err(Error::second_person_required());
        }
        Ok(MayConfirm {
            scope,
            own: Some(own),
            code,
        })
    }

    async fn act(&self, run: Run<'_>, grant: &MayConfirm) -> Result<Confirmed, Error> {
        let Run { tx, caller, .. } = run;
        let mut code = grant.code.clone();
        let micros = |time: DateTime<Utc>| time.timestamp_micros();
        let used = code
            .used
            .filter(|used| micros(used.time) == micros(self.use_time));
        let used = used.ok_or_else(Error::code_not_used)?;
        if code.confirm_time.is_none() {
            code.confirm_time = Some(tx.now());
            code.confirmer_id = grant.own;
            storage::upsert(tx, &grant.scope, &code).await?;
            sessions::confirm_code_session(tx, used.session_id).await?;
            audit(tx, caller, &code).await?;
        }
        Ok(Confirmed {
            code_id: code.code_id,
        })
    }

    async fn view(&self, run: Run<'_>, grant: &MayConfirm, _: &Confirmed) -> Result<OneTimeCode, Error> {
        let code = storage::find(run.tx, &grant.scope, self.member_id).await?;
        code.ok_or_else(|| Error::unknown(KIND, self.member_id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcome_has_its_golden_form() {
        let confirmed = Confirmed {
            code_id: Uuid::from_u128(1),
        };
        let stored = confirmed.encode().unwrap();
        let form = "\u{1}{\"code_id\":\"00000000-0000-0000-0000-000000000001\"}";
        assert_eq!(stored, form.as_bytes());
        assert_eq!(Confirmed::decode(&stored).unwrap(), confirmed);
    }
}
