mod code;
mod end;
mod read;
mod refresh;
mod start;

use parta_access::{Caller, Principal};
use parta_database::Tx;
use parta_ids::{AccountId, SessionId};
use parta_status::RpcError;

use super::{model::Session, secret, storage};
use crate::{context::Run, error::Error, member_records};

pub(crate) use code::{confirm_code_session, end_code_session, first_tokens, start_by_code};
pub(crate) use end::EndSession;
pub(crate) use read::{IssueOrganizationToken, ListMemberships, ListSessions, MembershipView};
pub(crate) use refresh::{RefreshSession, Refreshed};
pub(crate) use start::{NewSession, StartSession, Who};

/// The calling person and the session of the call. Refuses with CREDENTIAL_REVOKED if the session has ended
/// since the token was issued, and with CODE_NOT_ALLOWED if a one-time code of an organization started it:
/// such a session acts only for that organization, and does nothing for the account.
pub(crate) async fn signed_in(tx: &Tx, caller: &Caller) -> Result<(AccountId, SessionId), Error> {
    let session = any_session(tx, caller).await?;
    if session.code_org_id.is_some() {
        return Err(Error::code_session_limited());
    }
    Ok((session.account_id, session.id))
}

/// The session of the call, also one that a one-time code started. Refuses with CREDENTIAL_REVOKED if it has
/// ended since the token was issued.
async fn any_session(tx: &Tx, caller: &Caller) -> Result<Session, Error> {
    let (account, session) = account(caller)?;
    let found = storage::find(tx, session).await?;
    found
        .filter(|found| found.account_id == account && found.is_alive(tx.now()))
        .ok_or_else(Error::credential_revoked)
}

/// The account and the session that a token names.
fn account(caller: &Caller) -> Result<(AccountId, SessionId), RpcError> {
    match caller.principal {
        Principal::Account {
            account_id,
            session_id,
        } => Ok((account_id, session_id)),
        _ => Err(RpcError::internal(
            "an RPC of accounts accepted another kind of caller",
        )),
    }
}

/// Ends a session whose row is locked, and lists it for all services.
async fn end(tx: &Tx, account: AccountId, session: SessionId) -> Result<(), Error> {
    storage::update_ended(tx, session, tx.now()).await?;
    storage::insert_ended(tx, session, account, tx.database_now().await?).await?;
    Ok(())
}

/// Ends every session of an account but `own`, which must be alive. Returns the ids under which the ended
/// ones are known.
pub(crate) async fn end_others(
    run: Run<'_>,
    account: AccountId,
    own: SessionId,
) -> Result<Vec<SessionId>, Error> {
    let Run { context, tx, caller } = run;
    let alive = storage::lock_alive(tx, account, tx.now()).await?;
    if !alive.contains(&own) {
        return Err(Error::credential_revoked());
    }
    let members = member_records::members_of_account(tx, account).await?;
    let mut ids = Vec::new();
    for session in alive.into_iter().filter(|session| *session != own) {
        end(tx, account, session).await?;
        audit(tx, caller, account, session).await?;
        ids.extend(secret::known_ids(&context.secrets, session, &members));
    }
    Ok(ids)
}

async fn audit(tx: &Tx, caller: &Caller, account: AccountId, session: SessionId) -> Result<(), Error> {
    let object = format!("accounts/{account}/sessions/{session}");
    Ok(parta_audit::record(tx, caller, None, object).await?)
}
