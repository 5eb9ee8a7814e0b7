//! The first administrator.
use parta_proto::parta::membership::v1::{self as pb, appointment_service_server::AppointmentService};
use parta_storage::Mutation;
use tonic::{Request, Response};

use crate::context::Context;
use crate::{convert, grpc::Answer};

#[tonic::async_trait]
impl AppointmentService for Context {
    async fn list_appointments(
        &self,
        request: Request<pb::ListAppointmentsRequest>,
    ) -> Answer<pb::ListAppointmentsResponse> {
        let (caller, request) = self.enter(request).await?;
        let page = convert::page(request.page_size, &request.page_token, String::new())?;
        Ok(Response::new(self.list_appointments(&caller, page).await?))
    }

    async fn claim_appointment(
        &self,
        request: Request<pb::ClaimAppointmentRequest>,
    ) -> Answer<pb::ClaimAppointmentResponse> {
        let (caller, request) = self.enter(request).await?;
        let mutation = Mutation::new(&caller, &request.request_id, &request)?;
        let org = convert::id("org_id", &request.org_id)?;
        Ok(Response::new(
            self.claim_appointment(&caller, &mutation, org).await?,
        ))
    }
}
