//! What other services call.
use parta_proto::parta::membership::internal::v1::{
    self as internal, admission_service_server::AdmissionService,
};
use parta_storage::Mutation;
use tonic::{Request, Response};

use crate::{appointments::storage::NewAppointment, context::Context, sign_in::model::Address};
use crate::{convert, grpc::Answer};

#[tonic::async_trait]
impl AdmissionService for Context {
    async fn admit_member(
        &self,
        request: Request<internal::AdmitMemberRequest>,
    ) -> Answer<internal::AdmitMemberResponse> {
        let (caller, request) = self.enter(request).await?;
        let mutation = Mutation::new(&caller, &request.request_id, &request)?;
        Ok(Response::new(
            self.admit(&caller, &mutation, &convert::admission(&request)?)
                .await?,
        ))
    }

    async fn appoint_founding_administrator(
        &self,
        request: Request<internal::AppointFoundingAdministratorRequest>,
    ) -> Answer<internal::AppointFoundingAdministratorResponse> {
        let (caller, request) = self.enter(request).await?;
        let mutation = Mutation::new(&caller, &request.request_id, &request)?;
        let (org, application) = convert::ids(&request.org_id, "application_id", &request.application_id)?;
        let phone = Address::Phone(convert::phone_number("phone", &request.phone)?);
        let full_name = convert::text("full_name", &request.full_name, 200)?;
        let organization_display_name = convert::text(
            "organization_display_name",
            &request.organization_display_name,
            200,
        )?;
        let phone = phone.text().to_owned();
        let new = NewAppointment {
            application_id: application,
            phone,
            full_name,
            organization_display_name,
        };
        Ok(Response::new(self.appoint(&caller, &mutation, org, &new).await?))
    }
}
