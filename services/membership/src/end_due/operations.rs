use std::sync::Arc;

use async_trait::async_trait;
use parta_access::OrgScope;
use parta_database::Tx;
use parta_ids::{ActingHeadId, AssignmentId, DutyId, MemberId, TypedId};
use parta_jobs::{Job, JobError, JobHandler, Limits};
use parta_status::RpcError;

use crate::{
    acting_heads, assignments,
    context::Context,
    duties,
    endings::{self, EndingKind, JOB},
    error::Error,
    guardianships, roles,
};

/// Endings of different organizations do not wait for each other, nor for jobs of another kind.
pub(crate) const JOB_LIMITS: Limits = Limits {
    concurrent: 8,
    per_organization: 1,
    attempt_timeout: Some(std::time::Duration::from_secs(60)),
};
/// Endings per transaction. The number is small, so that other writers wait only briefly.
const BATCH: u64 = 100;

/// The job that ends what is due in an organization.
pub(crate) struct EndDue(pub(crate) Arc<Context>);

/// Ends at most [`BATCH`] facts. Returns whether more may be due.
async fn end_batch(context: &Context, tx: &Tx, scope: &OrgScope) -> Result<bool, Error> {
    let due = endings::list_due(tx, scope, tx.now(), BATCH).await?;
    for ending in &due {
        // Deleted first, because what ends in two steps sets the time of the second one. A time that was
        // postponed since the list was read stays.
        if !endings::delete_due(tx, scope, *ending, tx.now()).await? {
            continue;
        }
        match ending.kind {
            EndingKind::Assignment => {
                assignments::end_due(tx, scope, AssignmentId::from_uuid(ending.object_id)).await?;
            }
            EndingKind::Duty => {
                duties::end_due(tx, scope, DutyId::from_uuid(ending.object_id)).await?;
            }
            EndingKind::ActingHead => {
                acting_heads::end_due(tx, scope, ActingHeadId::from_uuid(ending.object_id)).await?;
            }
            EndingKind::Verification => {
                roles::end_due_verification(tx, scope, MemberId::from_uuid(ending.object_id)).await?;
            }
            EndingKind::RelationLimit | EndingKind::Majority => {
                guardianships::end_due(&context.roster, tx, scope).await?;
            }
        }
    }
    Ok(due.len() as u64 == BATCH)
}

#[async_trait]
impl JobHandler for EndDue {
    async fn run(&self, job: &Job) -> Result<(), JobError> {
        let Some(org) = job.org_id else {
            return Err(JobError::Fatal("the job names no organization".to_owned()));
        };
        let scope = &OrgScope::for_consumer(JOB, org);
        loop {
            let ended = self
                .0
                .db
                .write(|tx| async move { end_batch(&self.0, &tx, scope).await })
                .await;
            let is_full =
                ended.map_err(|error| JobError::Retry(RpcError::from(error).reason().to_owned()))?;
            if !is_full {
                return Ok(());
            }
            if job.is_stopping() {
                return Err(JobError::Interrupted);
            }
        }
    }
}
