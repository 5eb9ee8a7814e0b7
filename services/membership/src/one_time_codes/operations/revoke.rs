use parta_access::{OrgScope, authorize};
use parta_edge::{Mutation, Stored};
use parta_ids::{MemberId, OrgId, SessionId};
use serde::{Deserialize, Serialize};

use super::{KIND, audit, home_units, is_operator, member_facts};
use crate::{
    context::{Context, Run},
    error::Error,
    one_time_codes::{policy, storage},
    sessions,
};

/// Revokes the latest code of a member, and ends the session that it started.
#[derive(Debug)]
pub(crate) struct RevokeOneTimeCode {
    pub(crate) org_id: OrgId,
    pub(crate) member_id: MemberId,
}

/// The outcome of RevokeOneTimeCode: the ids under which the session that it ended is known.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Revoked {
    session_ids: Vec<SessionId>,
}

impl Stored for Revoked {}

impl Mutation for RevokeOneTimeCode {
    type Context = Context;
    type Grant = OrgScope;
    type Outcome = Revoked;
    type View = Vec<SessionId>;
    type Error = Error;

    async fn authorize(&self, run: Run<'_>) -> Result<OrgScope, Error> {
        let Run { context, tx, caller } = run;
        let org = self.org_id;
        if is_operator(caller) {
            return Ok(authorize(caller, org, policy::by_operator())?);
        }
        let facts = context.facts(tx, caller, org).await?;
        let member = member_facts(context, tx, org, self.member_id).await?;
        let home = home_units(context, tx, &member).await?;
        Ok(authorize(caller, org, policy::read(&facts, &member, &home))?)
    }

    async fn act(&self, run: Run<'_>, scope: &OrgScope) -> Result<Revoked, Error> {
        let Run { tx, caller, .. } = run;
        let code = storage::lock(tx, scope, self.member_id).await?;
        let code = code.ok_or_else(|| Error::unknown(KIND, self.member_id))?;
        // The caller may have lost the right while the row was locked.
        self.authorize(run).await?;
        let session_ids = match code.used {
            Some(used) => sessions::end_code_session(run, used.session_id).await?,
            None => Vec::new(),
        };
        storage::delete(tx, scope, self.member_id).await?;
        audit(tx, caller, &code).await?;
        Ok(Revoked { session_ids })
    }

    async fn view(&self, _: Run<'_>, _: &OrgScope, outcome: &Revoked) -> Result<Vec<SessionId>, Error> {
        Ok(outcome.session_ids.clone())
    }
}

#[cfg(test)]
mod tests {
    use parta_ids::{TypedId as _, Uuid};

    use super::*;

    #[test]
    fn outcome_has_its_golden_form() {
        let id = SessionId::from_uuid(Uuid::from_u128(1));
        let revoked = Revoked {
            session_ids: vec![id],
        };
        let stored = revoked.encode().unwrap();
        assert_eq!(stored, format!("\u{1}{{\"session_ids\":[\"{id}\"]}}").as_bytes());
        assert_eq!(Revoked::decode(&stored).unwrap(), revoked);
    }
}
