//! The job that appoints the founding administrator in membership, after the approval has been committed.
use std::sync::Arc;

use async_trait::async_trait;
use parta_database::{StorageError, Tx};
use parta_grpc::RequestExt as _;
use parta_ids::{OrgId, TypedId as _};
use parta_jobs::{Job, JobError, JobHandler};
use parta_proto_membership::internal::v1::{
    AppointFoundingAdministratorRequest, admission_service_client::AdmissionServiceClient,
};
use prost::Message as _;
use tonic::{Code, IntoRequest as _};

use super::model::Application;
use crate::context::Context;

/// The kind of the job.
pub(crate) const APPOINT_JOB: &str = "org_registry.appoint_administrator";

/// Adds the job to the transaction of the approval. Name and phone are personal, so no event holds them.
pub(super) async fn enqueue(tx: &Tx, application: &Application, org: OrgId) -> Result<(), StorageError> {
    let request_id = application.id.uuid();
    let request = AppointFoundingAdministratorRequest {
        request_id: request_id.to_string(),
        org_id: org.to_string(),
        application_id: application.id.to_string(),
        phone: application.form.administrator_phone.clone(),
        full_name: application.form.administrator_full_name.clone(),
        organization_display_name: application.form.organization_name.clone(),
    };
    parta_jobs::enqueue(tx, APPOINT_JOB, Some(org), request.encode_to_vec(), request_id).await
}

/// Runs the job.
pub(crate) struct AppointAdministrator(pub(crate) Arc<Context>);

#[async_trait]
impl JobHandler for AppointAdministrator {
    async fn run(&self, job: &Job) -> Result<(), JobError> {
        let request = AppointFoundingAdministratorRequest::decode(job.payload.as_slice())
            .map_err(|error| JobError::Fatal(error.to_string()))?;
        let channel = self
            .0
            .clients
            .client("membership")
            .map_err(|error| JobError::Fatal(error.to_string()))?;
        let mut client = AdmissionServiceClient::new(channel);
        match client
            .appoint_founding_administrator(request.into_request().idempotent())
            .await
        {
            Ok(_) => Ok(()),
            Err(status) if matches!(status.code(), Code::InvalidArgument | Code::FailedPrecondition) => {
                Err(JobError::Fatal(status.message().to_owned()))
            }
            Err(status) => Err(JobError::Retry(format!(
                "{:?}: {}",
                status.code(),
                status.message()
            ))),
        }
    }
}
