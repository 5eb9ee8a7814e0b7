use parta_access::SignedToken;
use parta_edge::{Act, UnclaimedMutation};
use parta_ids::SessionId;

use super::{audit, end};
use crate::{
    context::{Context, Run},
    error::Error,
    sessions::{secret, storage},
};

/// Replaces the refresh token of a session by its successor.
///
/// It has a `request_id` and yet no claim: the record of a claim would return the response for 30 days,
/// while a refresh token returns it again for only 60 seconds, and its use after that ends the session.
/// Within the 60 seconds the `request_id` decides nothing, because two tabs that share a token have one
/// each.
pub(crate) struct RefreshSession {
    pub(crate) refresh_token: String,
}

/// The result of a refresh that commits.
#[derive(Debug)]
pub(crate) enum Refreshed {
    /// The tokens of the next generation.
    Tokens {
        refresh_token: String,
        access_token: SignedToken,
    },
    /// The session has ended: before, or because the token was used again.
    Ended(SessionId),
}

impl UnclaimedMutation for RefreshSession {
    type Context = Context;
    type View = Refreshed;
    type Error = Error;

    async fn run(&self, run: Run<'_>) -> Result<Act<Refreshed>, Error> {
        let Run { context, tx, caller } = run;
        let (now, secrets) = (tx.now(), &context.secrets);
        let token = secret::read_refresh_token(secrets, &self.refresh_token);
        let (id, generation) = token.ok_or_else(Error::session_ended)?;
        let session = storage::lock(tx, id).await?;
        let Some(session) = session.filter(|session| session.is_alive(now)) else {
            return Ok(Act::Done(Refreshed::Ended(id)));
        };
        let account = session.account_id;
        let next = if generation == session.generation {
            storage::update_rotated(tx, &session, now).await?;
            generation + 1
        } else if session.is_replay(generation, now) {
            session.generation
        } else {
            // The token was copied: one of two holders used its successor.
            audit(tx, caller, account, id).await?;
            end(tx, account, id).await?;
            return Ok(Act::Done(Refreshed::Ended(id)));
        };
        Ok(Act::Done(Refreshed::Tokens {
            refresh_token: secret::refresh_token(secrets, id, next),
            access_token: Context::signed(context.issuer.account(account, id))?,
        }))
    }
}
