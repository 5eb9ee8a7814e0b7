use parta_ids::OrgId;
use parta_proto::parta::org_registry::v1::{self as pb, organization_service_server::OrganizationService};
use parta_storage::{Mutation, page_size};
use tonic::{Request, Response};

use crate::{
    context::App,
    convert,
    grpc::{Answer, id},
    queries::Page,
};

#[tonic::async_trait]
impl OrganizationService for App {
    async fn get_organization(
        &self,
        request: Request<pb::GetOrganizationRequest>,
    ) -> Answer<pb::GetOrganizationResponse> {
        let (caller, request) = self.enter(request).await?;
        let org = id::<OrgId>("org_id", &request.org_id)?;
        Ok(Response::new(self.get_organization(&caller, org).await?))
    }

    async fn list_organizations(
        &self,
        request: Request<pb::ListOrganizationsRequest>,
    ) -> Answer<pb::ListOrganizationsResponse> {
        let (caller, request) = self.enter(request).await?;
        let size = page_size(request.page_size)?;
        let page = Page {
            size,
            token: &request.page_token,
            filter: "organizations".to_owned(),
        };
        Ok(Response::new(self.list_organizations(&caller, page).await?))
    }

    async fn update_organization(
        &self,
        request: Request<pb::UpdateOrganizationRequest>,
    ) -> Answer<pb::UpdateOrganizationResponse> {
        let (caller, request) = self.enter(request).await?;
        let org = id::<OrgId>("org_id", &request.org_id)?;
        let update = convert::update(&request)?;
        let mutation = Mutation::new(&caller, &request.request_id, &request)?;
        Ok(Response::new(
            self.update_organization(&caller, &mutation, org, update, &request.etag)
                .await?,
        ))
    }

    async fn change_policies(
        &self,
        request: Request<pb::ChangePoliciesRequest>,
    ) -> Answer<pb::ChangePoliciesResponse> {
        let (caller, request) = self.enter(request).await?;
        let org = id::<OrgId>("org_id", &request.org_id)?;
        let policies = convert::policies_in(request.policies.as_ref())?;
        let mutation = Mutation::new(&caller, &request.request_id, &request)?;
        Ok(Response::new(
            self.change_policies(&caller, &mutation, org, policies, &request.etag)
                .await?,
        ))
    }
}
