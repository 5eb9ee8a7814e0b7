use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use parta_access::OrgScope;
use parta_database::{Db, StorageError, Tx};
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
    attempt_timeout: Some(Duration::from_secs(60)),
    // While an ending is overdue, every service refuses the organization. The next attempt therefore follows
    // soon after the trouble has passed, however long it lasted.
    max_retry_delay: Duration::from_secs(10),
};
/// The time between two searches for endings that no job will end.
pub(crate) const OVERDUE_CHECK_INTERVAL: Duration = Duration::from_secs(5);
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

/// Enqueues a job for each organization that has an overdue ending and no job that runs or is due soon: the
/// job has failed for good, or it was done before the ending was due, because the clock was set back between
/// its claim and its work.
pub(crate) async fn enqueue_overdue(db: &Db) -> Result<(), StorageError> {
    // At rest this is the only statement.
    if endings::list_overdue(db.clone()).await?.is_empty() {
        return Ok(());
    }
    // The jobs are read before the endings that count: those of a job that is done by then are not listed.
    let soon = db.env().now() + JOB_LIMITS.max_retry_delay;
    let have_job = parta_jobs::organizations_due(db.conn(), JOB, soon).await?;
    let overdue = endings::list_overdue(db.clone()).await?;
    for (org, _) in overdue.into_iter().filter(|(org, _)| !have_job.contains(org)) {
        // Two replicas enqueue the same job.
        let enqueued: Result<(), StorageError> = db
            .write(|tx| async move {
                parta_jobs::enqueue_again(&tx, JOB, Some(org), Vec::new(), org.uuid()).await
            })
            .await;
        enqueued?;
        tracing::warn!(org_id = %org, "overdue ending had no job, enqueued another one");
    }
    Ok(())
}

fn failure(error: Error) -> JobError {
    let is_transient = matches!(&error, Error::Storage(error) if error.is_transient());
    let reason = RpcError::from(error).reason().to_owned();
    if is_transient {
        JobError::Unavailable(reason)
    } else {
        JobError::Retry(reason)
    }
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
            if !ended.map_err(failure)? {
                return Ok(());
            }
            if job.is_stopping() {
                return Err(JobError::Interrupted);
            }
        }
    }
}
