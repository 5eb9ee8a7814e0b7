//! Giving the founding administrator's right to membership, after the commit of the approval.

use async_trait::async_trait;
use parta_grpc::RequestExt as _;
use parta_proto::parta::membership::internal::v1::{
    AppointFoundingAdministratorRequest, admission_service_client::AdmissionServiceClient,
};
use parta_storage::jobs::{Job, JobError, JobHandler};
use prost::Message as _;
use tonic::{Code, IntoRequest as _};

use crate::context::App;

/// The kind of the job.
pub(crate) const APPOINT_JOB: &str = "org_registry.appoint_administrator";

#[async_trait]
impl JobHandler for App {
    async fn run(&self, job: &Job) -> Result<(), JobError> {
        let request = AppointFoundingAdministratorRequest::decode(job.payload.as_slice())
            .map_err(|error| JobError::Fatal(error.to_string()))?;
        let channel = self
            .peers
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
