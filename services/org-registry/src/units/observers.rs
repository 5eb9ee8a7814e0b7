//! The classes that roster imports request.
use async_trait::async_trait;
use parta_access::OrgScope;
use parta_database::{Db, Tx};
use parta_feed::HandleError;
use parta_ids::{OrgId, RosterImportId};
use parta_jobs::{Job, JobError, JobHandler};
use parta_proto_membership::v1::RosterImportStaged;
use parta_roster::{Change, RosterObserver};
use parta_status::RpcError;
use prost::Message as _;
use tonic::Code;

use super::{model::ImportSource, operations};
use crate::error::Error;

/// The kind of the job that creates the classes of a staged roster import.
pub(crate) const IMPORT_JOB: &str = "org_registry.create_imported_units";

/// Enqueues the job that creates the classes of a staged roster import. The handler of the feed itself
/// decides nothing that a rule could refuse: a label that a person takes meanwhile must not stop the feed.
pub(crate) struct ImportObserver;

#[async_trait]
impl RosterObserver for ImportObserver {
    async fn changed(&self, tx: &Tx, org: OrgId, changes: &[Change]) -> Result<(), HandleError> {
        for change in changes {
            let Change::RosterImportStaged { key, staged } = change else {
                continue;
            };
            if staged.units.is_empty() {
                continue;
            }
            let payload = RosterImportStaged {
                invitations: Vec::new(),
                ..staged.clone()
            };
            let payload = payload.encode_to_vec();
            parta_jobs::enqueue(tx, IMPORT_JOB, Some(org), payload, *key).await?;
        }
        Ok(())
    }
}

/// Runs [`IMPORT_JOB`].
pub(crate) struct CreateImportedUnits(pub(crate) Db);

#[async_trait]
impl JobHandler for CreateImportedUnits {
    async fn run(&self, job: &Job) -> Result<(), JobError> {
        let (Ok(staged), Some(org)) = (RosterImportStaged::decode(job.payload.as_slice()), job.org_id) else {
            return Err(JobError::Fatal("the payload is not a staged import".to_owned()));
        };
        let staged = &staged;
        let created = self
            .0
            .write(|tx| async move { create_requested_units(&tx, org, staged).await })
            .await;
        created.map_err(|error| {
            // A message of a refusal may quote a name, so the failure has its reason only.
            let refusal = RpcError::from(error);
            let reason = refusal.reason().to_owned();
            match refusal.code() {
                Code::Unavailable => JobError::Retry(reason),
                _ => JobError::Fatal(reason),
            }
        })
    }
}

async fn create_requested_units(tx: &Tx, org: OrgId, staged: &RosterImportStaged) -> Result<(), Error> {
    let roster_import_id: RosterImportId = staged
        .roster_import_id
        .parse()
        .map_err(|error| RpcError::internal(format!("a staged import has no id: {error}")))?;
    let scope = &OrgScope::for_consumer(IMPORT_JOB, org);
    for requested in &staged.units {
        let source = ImportSource {
            roster_import_id,
            key: requested.source_key.clone(),
        };
        operations::create_imported(tx, scope, requested.label.trim(), &source).await?;
    }
    Ok(())
}
