//! Sessions that a one-time code of an organization starts (F11).
use parta_database::Tx;
use parta_ids::{AccountId, OrgId, SessionId};

use super::{audit, end, start::NewSession};
use crate::{
    accounts,
    context::{Context, Run},
    error::Error,
    member_records,
    sessions::{model::Session, secret, storage},
};

/// Starts a session of an account that acts for one organization, and ends every other session of the
/// account. Returns the ids under which the ended ones are known.
pub(crate) async fn start_by_code(
    run: Run<'_>,
    account: AccountId,
    org: OrgId,
) -> Result<(SessionId, Vec<SessionId>), Error> {
    let Run { context, tx, caller } = run;
    // Like StartSession: two sign-ins of one account come one after the other.
    accounts::lock(tx, account).await?;
    let members = member_records::members_of_account(tx, account).await?;
    let mut ended = Vec::new();
    for session in storage::lock_alive(tx, account, tx.now()).await? {
        end(tx, account, session).await?;
        audit(tx, caller, account, session).await?;
        ended.extend(secret::known_ids(&context.secrets, session, &members));
    }
    let id = tx.env().id();
    storage::insert(tx, &Session::by_code(id, account, org, tx.now())).await?;
    audit(tx, caller, account, id).await?;
    Ok((id, ended))
}

/// The tokens of a session that was just started; `None` if it has ended or was refreshed since.
pub(crate) async fn first_tokens(
    context: &Context,
    tx: &Tx,
    session: SessionId,
) -> Result<Option<NewSession>, Error> {
    let found = storage::find(tx, session).await?;
    match found.filter(|found| found.is_unused(tx.now())) {
        Some(session) => Ok(Some(NewSession::of(context, &session)?)),
        None => Ok(None),
    }
}

/// Lets a session that a code started read personal and named chats from the beginning.
pub(crate) async fn confirm_code_session(tx: &Tx, session: SessionId) -> Result<(), Error> {
    Ok(storage::update_confirmed(tx, session, tx.now()).await?)
}

/// Ends a session that a code started, unless it has ended. Returns the ids under which it is known.
pub(crate) async fn end_code_session(run: Run<'_>, session: SessionId) -> Result<Vec<SessionId>, Error> {
    let Run { context, tx, caller } = run;
    let found = storage::lock(tx, session).await?;
    let Some(found) = found.filter(|found| found.is_alive(tx.now())) else {
        return Ok(Vec::new());
    };
    let members = member_records::members_of_account(tx, found.account_id).await?;
    end(tx, found.account_id, session).await?;
    audit(tx, caller, found.account_id, session).await?;
    Ok(secret::known_ids(&context.secrets, session, &members))
}
