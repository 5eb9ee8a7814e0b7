use chrono::TimeDelta;
use parta_access::OrgScope;
use parta_database::Db;

use super::{
    events,
    model::{DECISION_TIME, RequestState},
    storage,
};
use crate::error::Error;

/// The time for which a decided request is kept.
const RETENTION: TimeDelta = TimeDelta::days(90);

/// The number of rows of a table that one transaction changes.
const BATCH: u64 = 100;

/// Name of the task in the audit of what it does.
const TASK: &str = "membership.purge_join_requests";

/// Lets requests expire that nobody has decided in time, and deletes those that were decided long ago.
pub(crate) async fn purge(db: &Db) -> Result<(), Error> {
    let before = db.env().now() - DECISION_TIME;
    while let Some(org) = storage::org_of_pending(db.conn(), before).await? {
        let scope = &OrgScope::for_consumer(TASK, org);
        // The events of one transaction belong to one organization.
        db.write(|tx| async move {
            for mut row in storage::lock_pending(&tx, scope, before, BATCH).await? {
                row.state = RequestState::Expired;
                row.decide_time = Some(tx.now());
                storage::update(&tx, scope, &row).await?;
                events::decided(&tx, &row).await?;
            }
            Ok::<_, Error>(())
        })
        .await?;
    }
    delete_old(db).await
}

/// Deletes in parts, so that other writers wait only briefly.
async fn delete_old(db: &Db) -> Result<(), Error> {
    loop {
        let deleted = db
            .write(|tx| async move {
                let before = tx.now() - RETENTION;
                Ok::<_, Error>(storage::delete_decided(&tx, before, BATCH).await?)
            })
            .await?;
        if deleted < BATCH {
            return Ok(());
        }
    }
}
