//! The job that appoints the founding administrator in membership, after the approval has been committed.
use std::sync::Arc;

use async_trait::async_trait;
use parta_database::{Db, StorageError, Tx};
use parta_grpc::RequestExt as _;
use parta_ids::{ApplicationId, OrgId, TypedId as _};
use parta_jobs::{Job, JobError, JobHandler};
use parta_proto_membership::internal::v1::{
    AppointFoundingAdministratorRequest, admission_service_client::AdmissionServiceClient,
};
use parta_status::RpcError;
use tonic::{Code, IntoRequest as _};

use super::storage;
use crate::context::Context;

/// The kind of the job.
pub(crate) const APPOINT_JOB: &str = "org_registry.appoint_administrator";

/// Adds the job to the transaction of the approval. The job names the application, which holds the name and
/// the phone of the administrator.
pub(super) async fn enqueue(tx: &Tx, application: ApplicationId, org: OrgId) -> Result<(), StorageError> {
    let payload = application.to_string().into_bytes();
    parta_jobs::enqueue(tx, APPOINT_JOB, Some(org), payload, application.uuid()).await
}

/// Runs the job.
pub(crate) struct AppointAdministrator {
    db: Db,
    context: Arc<Context>,
}

impl AppointAdministrator {
    pub(crate) fn new(db: Db, context: Arc<Context>) -> Self {
        Self { db, context }
    }

    async fn request(&self, job: &Job) -> Result<AppointFoundingAdministratorRequest, JobError> {
        let fatal = |why: &str| JobError::Fatal(why.to_owned());
        let id = std::str::from_utf8(&job.payload)
            .ok()
            .and_then(|text| text.parse::<ApplicationId>().ok())
            .ok_or_else(|| fatal("the payload is not the id of an application"))?;
        let application = storage::find(self.db.conn(), id)
            .await?
            .ok_or_else(|| fatal("the application does not exist"))?;
        let org_id = application
            .org_id
            .ok_or_else(|| fatal("the application is not approved"))?;
        Ok(AppointFoundingAdministratorRequest {
            request_id: job.request_id.to_string(),
            org_id: org_id.to_string(),
            application_id: id.to_string(),
            phone: application.form.administrator_phone,
            full_name: application.form.administrator_full_name,
            organization_display_name: application.form.organization_name,
        })
    }
}

#[async_trait]
impl JobHandler for AppointAdministrator {
    async fn run(&self, job: &Job) -> Result<(), JobError> {
        let request = self.request(job).await?;
        let channel = self
            .context
            .clients
            .client("membership")
            .map_err(|error| JobError::Fatal(error.to_string()))?;
        let mut client = AdmissionServiceClient::new(channel);
        let Err(status) = client
            .appoint_founding_administrator(request.into_request().idempotent())
            .await
        else {
            return Ok(());
        };
        // A message of a refusal may quote the request, so the failure has its reason only.
        let reason =
            RpcError::from_status(&status).map_or_else(String::new, |error| error.reason().to_owned());
        let failure = format!("membership: {:?} {reason}", status.code());
        Err(match status.code() {
            Code::InvalidArgument | Code::FailedPrecondition => JobError::Fatal(failure),
            _ => JobError::Retry(failure),
        })
    }
}
