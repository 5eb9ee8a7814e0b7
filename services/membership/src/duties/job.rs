//! The durable job that ends duties after their last day.
use async_trait::async_trait;
use parta_access::OrgScope;
use parta_database::Db;
use parta_jobs::{Job, JobError, JobHandler, Limits};
use parta_status::RpcError;

/// Kind of the durable job.
pub(crate) const JOB: &str = "membership.end_duties";
/// Endings of different organizations do not wait for each other.
pub(crate) const JOB_LIMITS: Limits = Limits {
    concurrent: 8,
    per_organization: 1,
    attempt_timeout: Some(std::time::Duration::from_secs(60)),
};

/// Ends what is due in the organization of the job. Each duty has enqueued a job for its own time.
pub(crate) struct EndDuties {
    db: Db,
}

impl EndDuties {
    pub(crate) fn new(db: Db) -> Self {
        Self { db }
    }
}

#[async_trait]
impl JobHandler for EndDuties {
    async fn run(&self, job: &Job) -> Result<(), JobError> {
        let Some(org) = job.org_id else {
            return Err(JobError::Fatal("the job names no organization".to_owned()));
        };
        let scope = &OrgScope::for_consumer(JOB, org);
        let ended = self
            .db
            .write(|tx| async move { super::end_due(&tx, scope, tx.now()).await })
            .await;
        ended.map_err(|error| JobError::Retry(RpcError::from(error).reason().to_owned()))
    }
}
