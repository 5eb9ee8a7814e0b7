//! Tasks of teachers.
use parta_proto::parta::membership::v1::{self as pb, assignment_service_server::AssignmentService};
use parta_storage::Mutation;
use tonic::{Request, Response};

use super::{Answer, convert};
use crate::operations::App;

#[tonic::async_trait]
impl AssignmentService for App {
    async fn create_assignment(
        &self,
        request: Request<pb::CreateAssignmentRequest>,
    ) -> Answer<pb::CreateAssignmentResponse> {
        let (caller, request) = self.enter(request).await?;
        let mutation = Mutation::new(&caller, &request.request_id, &request)?;
        Ok(Response::new(
            self.create_assignment(&caller, &mutation, &convert::new_assignment(&request)?)
                .await?,
        ))
    }

    async fn end_assignment(
        &self,
        request: Request<pb::EndAssignmentRequest>,
    ) -> Answer<pb::EndAssignmentResponse> {
        let (caller, request) = self.enter(request).await?;
        let mutation = Mutation::new(&caller, &request.request_id, &request)?;
        let (org, id) = convert::ids(&request.org_id, "assignment_id", &request.assignment_id)?;
        Ok(Response::new(
            self.end_assignment(&caller, &mutation, org, id).await?,
        ))
    }

    async fn list_assignments(
        &self,
        request: Request<pb::ListAssignmentsRequest>,
    ) -> Answer<pb::ListAssignmentsResponse> {
        let (caller, request) = self.enter(request).await?;
        let org = convert::id("org_id", &request.org_id)?;
        let unit = convert::optional_id("unit_id", &request.unit_id)?;
        let member = convert::optional_id("member_id", &request.member_id)?;
        let page = convert::page(
            request.page_size,
            &request.page_token,
            format!("{org}/{}/{}", request.unit_id, request.member_id),
        )?;
        Ok(Response::new(
            self.list_assignments(&caller, org, unit, member, page).await?,
        ))
    }
}
