use std::collections::BTreeSet;

use parta_access::OrgScope;
use parta_database::{Db, Tx};
use parta_ids::{JoinRequestId, OrgId};
use parta_status::RpcError;

use super::{events, model::RequestState, storage};
use crate::error::Error;

const ACTOR: &str = "restore";
/// Requests that one transaction refuses. The number is small, so that other writers wait only briefly.
const BATCH: usize = 100;

/// Refuses the pending ones of these requests, which had ended before the database was restored. Returns
/// their number. The persons may make new requests.
pub async fn refuse_requests_again(
    db: &Db,
    org: OrgId,
    requests: &BTreeSet<JoinRequestId>,
) -> Result<usize, RpcError> {
    let scope = &OrgScope::for_consumer(ACTOR, org);
    let requests: Vec<JoinRequestId> = requests.iter().copied().collect();
    let mut refused = 0;
    for batch in requests.chunks(BATCH) {
        let batch = &batch.iter().copied().collect();
        let done = db
            .write(|tx| async move { refuse(&tx, scope, batch).await })
            .await;
        refused += done.map_err(RpcError::from)?;
    }
    Ok(refused)
}

async fn refuse(tx: &Tx, scope: &OrgScope, requests: &BTreeSet<JoinRequestId>) -> Result<usize, Error> {
    let mut refused = 0;
    for mut row in storage::lock(tx, scope, requests).await? {
        if row.state == RequestState::Pending {
            row.state = RequestState::Refused;
            row.decide_time = Some(tx.now());
            storage::update(tx, scope, &row).await?;
            events::decided(tx, &row).await?;
            refused += 1;
        }
    }
    Ok(refused)
}
