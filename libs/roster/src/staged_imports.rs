//! The part of a staged roster import that one service creates. The handler of the feed enqueues a job and
//! decides nothing that a rule could refuse: a label that a person takes meanwhile must not stop the feed.
use async_trait::async_trait;
use parta_database::{Db, StorageError, Tx};
use parta_feed::HandleError;
use parta_ids::OrgId;
use parta_jobs::{Job, JobError, JobHandler};
use parta_proto_membership::v1::RosterImportStaged;
use parta_status::RpcError;
use prost::Message as _;
use tonic::Code;

use crate::{Change, RosterObserver};

/// Enqueues the job that creates a service's part of a staged roster import.
pub struct StagedImportObserver {
    /// The kind of the job, for which the service runs a [`StagedImportJob`].
    pub job: &'static str,
    /// Returns the part that the service creates; `None` if there is none.
    pub part: fn(&RosterImportStaged) -> Option<RosterImportStaged>,
}

#[async_trait]
impl RosterObserver for StagedImportObserver {
    async fn changed(&self, tx: &Tx, org: OrgId, changes: &[Change]) -> Result<(), HandleError> {
        for change in changes {
            let Change::RosterImportStaged { key, staged } = change else {
                continue;
            };
            if let Some(part) = (self.part)(staged) {
                parta_jobs::enqueue(tx, self.job, Some(org), part.encode_to_vec(), *key).await?;
            }
        }
        Ok(())
    }
}

/// Creates a service's part of a staged roster import.
#[async_trait]
pub trait CreateStaged: Send + Sync {
    /// The error of the service.
    type Error: From<StorageError> + Into<RpcError> + Send;

    /// Creates what is missing of the part, in the transaction of one attempt of the job.
    async fn create(&self, tx: &Tx, org: OrgId, part: &RosterImportStaged) -> Result<(), Self::Error>;
}

/// Runs the job that a [`StagedImportObserver`] enqueued. An attempt that an unavailable dependency stops is
/// made again; any other refusal is final.
pub struct StagedImportJob<C> {
    /// The database of the service.
    pub db: Db,
    /// Creates the part.
    pub creator: C,
}

#[async_trait]
impl<C: CreateStaged> JobHandler for StagedImportJob<C> {
    async fn run(&self, job: &Job) -> Result<(), JobError> {
        let (Ok(part), Some(org)) = (RosterImportStaged::decode(job.payload.as_slice()), job.org_id) else {
            return Err(JobError::Fatal("the payload is not a staged import".to_owned()));
        };
        let part = &part;
        let created = self
            .db
            .write(|tx| async move { self.creator.create(&tx, org, part).await })
            .await;
        created.map_err(|error| {
            // A message of a refusal may quote a name, so the failure has its reason only.
            let refusal: RpcError = error.into();
            let reason = refusal.reason().to_owned();
            match refusal.code() {
                Code::Unavailable => JobError::Retry(reason),
                _ => JobError::Fatal(reason),
            }
        })
    }
}
