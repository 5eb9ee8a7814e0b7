use parta_edge::{Mutation, Stored};
use parta_ids::{AccountId, SessionId};
use serde::{Deserialize, Serialize};

use super::{account, any_session, audit, end};
use crate::{
    context::{Context, Run},
    error::Error,
    member_records,
    sessions::{secret, storage},
};

const KIND: &str = "session";

#[derive(Debug)]
pub(crate) struct EndSession {
    /// `None`: the session of the call.
    pub(crate) session_id: Option<SessionId>,
}

/// The outcome of EndSession.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Ended {
    session_id: SessionId,
}

impl Stored for Ended {}

/// The proof that the session belongs to the caller.
pub(crate) struct OwnSession {
    account_id: AccountId,
    session_id: SessionId,
}

impl Mutation for EndSession {
    type Context = Context;
    type Grant = OwnSession;
    type Outcome = Ended;
    /// The ids under which the session is known: here, in join tickets, and in each organization.
    type View = Vec<SessionId>;
    type Error = Error;

    async fn authorize(&self, run: Run<'_>) -> Result<OwnSession, Error> {
        let Run { tx, caller, .. } = run;
        let own = any_session(tx, caller).await?;
        let account_id = own.account_id;
        let session_id = self.session_id.unwrap_or(own.id);
        let may_end = own.code_org_id.is_none() || session_id == own.id;
        let found = storage::lock(tx, session_id).await?;
        found
            .filter(|session| session.account_id == account_id && may_end)
            .ok_or_else(|| Error::unknown(KIND, session_id))?;
        Ok(OwnSession {
            account_id,
            session_id,
        })
    }

    async fn act(&self, run: Run<'_>, own: &OwnSession) -> Result<Ended, Error> {
        let Run { tx, caller, .. } = run;
        let OwnSession {
            account_id,
            session_id,
        } = *own;
        let session = storage::find(tx, session_id).await?;
        if !session.is_some_and(|session| session.is_alive(tx.now())) {
            return Err(Error::unknown(KIND, session_id));
        }
        end(tx, account_id, session_id).await?;
        audit(tx, caller, account_id, session_id).await?;
        Ok(Ended { session_id })
    }

    async fn view(&self, run: Run<'_>, own: &OwnSession, outcome: &Ended) -> Result<Vec<SessionId>, Error> {
        let members = member_records::members_of_account(run.tx, own.account_id).await?;
        Ok(secret::known_ids(
            &run.context.secrets,
            outcome.session_id,
            &members,
        ))
    }

    /// A person who ended the session of the call still gets the result: the act took the right away.
    async fn regrant(&self, run: Run<'_>, outcome: &Ended) -> Result<OwnSession, Error> {
        let (account_id, own) = account(run.caller)?;
        if own != outcome.session_id {
            return self.authorize(run).await;
        }
        Ok(OwnSession {
            account_id,
            session_id: own,
        })
    }
}

#[cfg(test)]
mod tests {
    use parta_ids::{TypedId as _, Uuid};

    use super::*;

    #[test]
    fn outcome_has_its_golden_form() {
        let ended = Ended {
            session_id: SessionId::from_uuid(Uuid::from_u128(1)),
        };
        let form = format!("\u{1}{{\"session_id\":\"{}\"}}", ended.session_id);
        let stored = ended.encode().unwrap();
        assert_eq!(stored, form.as_bytes());
        assert_eq!(Ended::decode(&stored).unwrap(), ended);
    }
}
