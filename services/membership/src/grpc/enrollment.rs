//! Movement of pupils.
use parta_proto::parta::membership::v1::{self as pb, enrollment_service_server::EnrollmentService};
use parta_storage::Mutation;
use tonic::{Request, Response};

use super::{Answer, convert};
use crate::operations::App;

#[tonic::async_trait]
impl EnrollmentService for App {
    async fn enroll_pupil(
        &self,
        request: Request<pb::EnrollPupilRequest>,
    ) -> Answer<pb::EnrollPupilResponse> {
        let (caller, request) = self.enter(request).await?;
        let mutation = Mutation::new(&caller, &request.request_id, &request)?;
        let (org, id) = convert::ids(&request.org_id, "member_id", &request.member_id)?;
        let unit = convert::id("unit_id", &request.unit_id)?;
        Ok(Response::new(
            self.enroll_pupil(&caller, &mutation, org, id, unit).await?,
        ))
    }

    async fn transfer_pupil(
        &self,
        request: Request<pb::TransferPupilRequest>,
    ) -> Answer<pb::TransferPupilResponse> {
        let (caller, request) = self.enter(request).await?;
        let mutation = Mutation::new(&caller, &request.request_id, &request)?;
        let (org, id) = convert::ids(&request.org_id, "member_id", &request.member_id)?;
        let from = convert::id("from_unit_id", &request.from_unit_id)?;
        let to = convert::id("to_unit_id", &request.to_unit_id)?;
        Ok(Response::new(
            self.transfer_pupil(&caller, &mutation, org, id, from, to).await?,
        ))
    }
}
