//! The links of a database that was restored from a backup.
use chrono::TimeDelta;
use parta_access::OrgScope;
use parta_database::{Db, StorageError, Tx};

use super::{
    super::{
        model::State,
        storage::{self, Filter},
    },
    revocation::{end_requests, revoke_link},
};

const ACTOR: &str = "restore";
/// The age up to which revocations are repeated. No acceptance by a link that was revoked earlier can
/// be on its way, and requests expire after 30 days.
const END_AGAIN: TimeDelta = TimeDelta::days(31);
/// Links that one transaction revokes. The number is small, so that other writers wait only briefly.
const BATCH: u64 = 500;

/// Revokes all links that can be used, in all organizations, and returns their number. The restored database
/// does not know which of them were revoked or used after the backup.
pub async fn revoke_open_links(db: &Db) -> Result<u64, StorageError> {
    let mut revoked = 0;
    for org in storage::list_orgs(db.conn(), db.env().now()).await? {
        let scope = &OrgScope::for_consumer(ACTOR, org);
        loop {
            let batch = db
                .write(|tx| async move { revoke_batch(&tx, scope).await })
                .await?;
            revoked += batch;
            if batch < BATCH {
                break;
            }
        }
    }
    Ok(revoked)
}

/// Ends once more, when the service runs, the requests by links that were revoked lately: a membership that
/// was restored does not know what was revoked after its backup. Returns the number of links.
pub async fn end_revoked_again(db: &Db) -> Result<usize, StorageError> {
    let since = db.env().now() - END_AGAIN;
    let revoked = storage::list_revoked_since(db.conn(), since).await?;
    for (org, links) in &revoked {
        let scope = &OrgScope::for_consumer(ACTOR, *org);
        db.write(|tx| async move { end_requests(&tx, scope, links).await })
            .await?;
    }
    Ok(revoked.values().map(Vec::len).sum())
}

async fn revoke_batch(tx: &Tx, scope: &OrgScope) -> Result<u64, StorageError> {
    let open = Filter {
        state: Some(State::Active),
        ..Filter::default()
    };
    let mut revoked = Vec::new();
    for link in storage::list(tx, scope, &open, tx.now(), None, BATCH).await? {
        if revoke_link(tx, scope, &link).await? {
            revoked.push(link.id);
        }
    }
    // The lost part may have held uses of any of them.
    end_requests(tx, scope, &revoked).await?;
    Ok(revoked.len() as u64)
}
