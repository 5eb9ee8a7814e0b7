use chrono::{DateTime, Utc};
use parta_database::Tx;
use parta_ids::OrgId;
use parta_status::RpcError;

use super::model::Notice;
use crate::error::Error;

/// Kind of the durable job that judges and sends a notice.
pub(crate) const JOB: &str = "membership.deliver_notice";

/// Sends a notice after the commit, if it is still due then.
pub(crate) async fn deliver(tx: &Tx, org: OrgId, notice: Notice) -> Result<(), Error> {
    deliver_at(tx, org, notice, tx.now()).await
}

/// Sends a notice at a time, if it is still due then.
pub(crate) async fn deliver_at(
    tx: &Tx,
    org: OrgId,
    notice: Notice,
    due_time: DateTime<Utc>,
) -> Result<(), Error> {
    let payload = serde_json::to_vec(&notice).map_err(RpcError::internal)?;
    let request_id = tx.env().ids.uuid();
    Ok(parta_jobs::enqueue_at(tx, JOB, Some(org), payload, request_id, due_time).await?)
}

/// Returns the notice of a job.
pub(crate) fn notice_of(payload: &[u8]) -> Option<Notice> {
    serde_json::from_slice(payload).ok()
}
