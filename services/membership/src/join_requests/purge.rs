use chrono::TimeDelta;
use parta_access::OrgScope;
use parta_database::Db;

use super::{
    events,
    model::{DECISION_TIME, RequestState},
    storage,
};
use crate::error::Error;

/// How long a decided request is kept.
const RETENTION: TimeDelta = TimeDelta::days(90);

/// How long the end of an invitation is noted. An acceptance that was on its way has a join flow, which is
/// deleted 31 days after its latest ticket.
const ENDED_RETENTION: TimeDelta = TimeDelta::days(31);

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
                let decided = storage::delete_decided(&tx, tx.now() - RETENTION, BATCH).await?;
                let ended = storage::delete_ended(&tx, tx.now() - ENDED_RETENTION, BATCH).await?;
                Ok::<_, Error>(decided.max(ended))
            })
            .await?;
        if deleted < BATCH {
            return Ok(());
        }
    }
}
