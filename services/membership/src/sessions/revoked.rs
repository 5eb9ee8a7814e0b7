//! The sessions whose tokens are refused before they expire.
use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use parta_access::{MAX_REVOCATIONS, Secrets};
use parta_database::Tx;
use parta_ids::{AccountId, SessionId};

pub(crate) use super::storage::purge_ended;
use super::{secret, storage};
use crate::{error::Error, member_records};

/// Lists the sessions that were ended after `since`, under the ids by which the organizations of their people
/// know them. An organization that the person has left is among them: a token that was issued before is
/// refused there after a return too.
///
/// The ids are derived at each reading: a transaction that admits the person may commit after the one that
/// ended the session, and a token for that organization may have been issued in between.
pub(crate) async fn list_revoked(
    tx: &Tx,
    secrets: &Secrets,
    since: DateTime<Utc>,
) -> Result<Vec<SessionId>, Error> {
    // One more than any process accepts, so that the excess is noticed.
    let ended = storage::list_ended(tx, since, MAX_REVOCATIONS as u64 + 1).await?;
    let mut sessions: BTreeMap<AccountId, Vec<SessionId>> = BTreeMap::new();
    for (session, account) in ended {
        sessions.entry(account).or_default().push(session);
    }
    let accounts: Vec<AccountId> = sessions.keys().copied().collect();
    let mut revoked = Vec::new();
    for (account, org) in member_records::orgs_of_accounts(tx, &accounts).await? {
        let sessions = sessions.get(&account).into_iter().flatten();
        revoked.extend(sessions.map(|session| secret::pairwise_session(secrets, *session, org)));
    }
    Ok(revoked)
}
