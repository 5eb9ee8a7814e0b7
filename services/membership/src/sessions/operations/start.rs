use parta_access::SignedToken;
use parta_database::Tx;
use parta_edge::{Mutation, Stored};
use parta_ids::{AccountId, FlowId, SessionId};
use serde::{Deserialize, Serialize};

use super::audit;
use crate::{
    accounts::{self, Account},
    context::{Context, Run},
    error::Error,
    sessions::{
        model::{FIRST_GENERATION, Session},
        secret, storage,
    },
    sign_in::{self, ProofDigest},
};

/// The person who signs in.
#[derive(Debug, Clone)]
pub(crate) enum Who {
    /// One of the people of the proved address.
    Known(AccountId),
    /// A new person with this full name.
    New(String),
}

/// Starts a session by a flow whose code was verified.
pub(crate) struct StartSession {
    pub(crate) flow_id: FlowId,
    /// The proof that VerifyCode returned.
    pub(crate) proof: String,
    pub(crate) who: Who,
}

/// The outcome of StartSession.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Started {
    account_id: AccountId,
    session_id: SessionId,
}

impl Stored for Started {}

/// A new session with its tokens, which are derived for each response.
#[derive(Debug)]
pub(crate) struct NewSession {
    pub(crate) account_id: AccountId,
    pub(crate) session_id: SessionId,
    pub(crate) refresh_token: String,
    pub(crate) access_token: SignedToken,
}

impl NewSession {
    /// The first tokens of a session.
    pub(super) fn of(context: &Context, session: &Session) -> Result<Self, Error> {
        let (account_id, session_id) = (session.account_id, session.id);
        Ok(Self {
            account_id,
            session_id,
            refresh_token: secret::refresh_token(&context.secrets, session_id, FIRST_GENERATION),
            access_token: Context::signed(context.issuer.account(account_id, session_id))?,
        })
    }
}

impl StartSession {
    /// Refuses to sign in as a person who does not own the address.
    async fn require_person(&self, tx: &Tx, address: &str) -> Result<(), Error> {
        if let Who::Known(account) = &self.who {
            let people = accounts::list_by_address(tx, address).await?;
            if !people.iter().any(|person| person.id == *account) {
                return Err(Error::unknown("account", account));
            }
        }
        Ok(())
    }
}

impl Mutation for StartSession {
    type Context = Context;
    type Grant = ();
    type Outcome = Started;
    type View = NewSession;
    type Error = Error;

    /// The caller who verified the code of the flow, as the proof shows, may start one session as a
    /// person of its address.
    async fn authorize(&self, run: Run<'_>) -> Result<(), Error> {
        let Run { tx, .. } = run;
        let address = sign_in::find_proved(tx, self.flow_id, &ProofDigest::of(&self.proof), tx.now()).await?;
        let address = address.ok_or_else(Error::flow_unknown)?;
        self.require_person(tx, &address).await
    }

    async fn act(&self, run: Run<'_>, (): &()) -> Result<Started, Error> {
        let Run { tx, caller, .. } = run;
        let (now, session_id) = (tx.now(), tx.env().id());
        let address =
            sign_in::use_proved(tx, self.flow_id, &ProofDigest::of(&self.proof), session_id, now).await?;
        let address = address.ok_or_else(Error::flow_unknown)?;
        let account_id = match &self.who {
            Who::Known(account) => {
                // The person may change the address meanwhile, which ends the other sessions.
                accounts::lock(tx, *account).await?;
                if !accounts::has_address(tx, *account, &address).await? {
                    return Err(Error::unknown("account", account));
                }
                *account
            }
            Who::New(full_name) => {
                let account = Account {
                    id: tx.env().id(),
                    full_name: full_name.clone(),
                };
                accounts::insert(tx, &account, &address, now).await?;
                account.id
            }
        };
        storage::insert(tx, &Session::new(session_id, account_id, now)).await?;
        audit(tx, caller, account_id, session_id).await?;
        Ok(Started {
            account_id,
            session_id,
        })
    }

    /// A repetition gets no tokens of a session that has ended or was refreshed since.
    async fn view(&self, run: Run<'_>, (): &(), outcome: &Started) -> Result<NewSession, Error> {
        let Run { context, tx, .. } = run;
        let session = storage::find(tx, outcome.session_id).await?;
        let session = session.filter(|session| session.is_unused(tx.now()));
        NewSession::of(context, &session.ok_or_else(Error::session_ended)?)
    }

    /// The act used the flow up. The caller who repeats the same request, which holds the proof, gets the
    /// session that it started.
    async fn regrant(&self, _: Run<'_>, _: &Started) -> Result<(), Error> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use parta_ids::{TypedId as _, Uuid};

    use super::*;

    #[test]
    fn outcome_has_its_golden_form() {
        let started = Started {
            account_id: AccountId::from_uuid(Uuid::from_u128(1)),
            session_id: SessionId::from_uuid(Uuid::from_u128(2)),
        };
        let form = format!(
            "\u{1}{{\"account_id\":\"{}\",\"session_id\":\"{}\"}}",
            started.account_id, started.session_id
        );
        let stored = started.encode().unwrap();
        assert_eq!(stored, form.as_bytes());
        assert_eq!(Started::decode(&stored).unwrap(), started);
    }
}
