//! The sessions whose tokens are refused before they expire.
use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use parta_access::{MAX_REVOCATIONS, REVOCATION_LIFETIME, Secrets};
use parta_database::Tx;
use parta_ids::{AccountId, SessionId};

pub(crate) use super::storage::purge_ended;
use super::{secret, storage};
use crate::{
    error::Error,
    member_records::{self, releases},
};

/// Lists the sessions that were ended after `since`, under the ids by which join tickets and the
/// organizations of their people know them, and those that lost a record by a release. An organization that
/// the person has left is among them: a token that was issued before is refused there after a return too.
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
    let ended = sessions.values().flatten();
    let mut revoked: Vec<_> = ended
        .map(|session| secret::joining_session(secrets, *session))
        .collect();
    for (account, org, member) in member_records::members_of_accounts(tx, &accounts).await? {
        let sessions = sessions.get(&account).into_iter().flatten();
        revoked.extend(sessions.map(|session| secret::pairwise_session(secrets, *session, org, member)));
    }
    revoked.extend(list_released(tx, secrets, since).await?);
    Ok(revoked)
}

/// The time after a release within which a session may begin whose token for the released record was
/// issued before: longer than any call takes.
const CONCURRENT: TimeDelta = TimeDelta::seconds(60);

/// Lists the sessions of the accounts from which records were released after `since`, each under the id by
/// which the organization knows it for the released record only. A session that begins later cannot have a
/// token for the record, unless the account claims it again.
async fn list_released(tx: &Tx, secrets: &Secrets, since: DateTime<Utc>) -> Result<Vec<SessionId>, Error> {
    let mut revoked = Vec::new();
    for release in releases::list_since(tx, since, MAX_REVOCATIONS as u64 + 1).await? {
        let until = release.release_time + CONCURRENT;
        // A token lives for less time than a release is listed, and is issued by a session that was refreshed
        // shortly before.
        let refreshed_since = since - REVOCATION_LIFETIME;
        for session in storage::list_of_account(tx, release.account_id, refreshed_since, until).await? {
            let (org, member) = (release.org_id, release.member_id);
            revoked.push(secret::pairwise_session(secrets, session, org, member));
        }
    }
    Ok(revoked)
}
