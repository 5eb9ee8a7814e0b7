//! `parta.org_registry.v1.OrganizationService`: decodes requests, calls the edge, and encodes responses.
mod convert;

use parta_edge::{Edge, PageRequest};
use parta_proto_org_registry::v1::{self as pb, organization_service_server::OrganizationService};
use parta_status::field;
use tonic::{Request, Response, Status};

pub(crate) use convert::{time_zone, to_proto};

use super::operations::{GetOrganization, ListOrganizations, UpdateOrganization};
use crate::context::Context;

/// The server of the service.
#[derive(Clone)]
pub(crate) struct Organizations {
    edge: Edge<Context>,
}

impl Organizations {
    pub(crate) fn new(edge: Edge<Context>) -> Self {
        Self { edge }
    }
}

#[tonic::async_trait]
impl OrganizationService for Organizations {
    async fn get_organization(
        &self,
        request: Request<pb::GetOrganizationRequest>,
    ) -> Result<Response<pb::GetOrganizationResponse>, Status> {
        let call = self.edge.enter(request).await?;
        let query = call.query(|v, r| {
            Some(GetOrganization {
                org_id: field::id(v, "org_id", &r.org_id)?,
            })
        })?;
        let organization = self.edge.query(&call, &query).await?;
        Ok(Response::new(pb::GetOrganizationResponse {
            organization: Some(to_proto(&organization)),
        }))
    }

    async fn list_organizations(
        &self,
        request: Request<pb::ListOrganizationsRequest>,
    ) -> Result<Response<pb::ListOrganizationsResponse>, Status> {
        let call = self.edge.enter(request).await?;
        let query = call.query(|v, r| {
            let filter = "organizations".to_owned();
            Some(ListOrganizations {
                page: PageRequest::decode(v, r.page_size, &r.page_token, filter)?,
            })
        })?;
        let page = self.edge.query(&call, &query).await?;
        Ok(Response::new(pb::ListOrganizationsResponse {
            organizations: page.items.iter().map(to_proto).collect(),
            next_page_token: page.next_page_token,
        }))
    }

    async fn update_organization(
        &self,
        request: Request<pb::UpdateOrganizationRequest>,
    ) -> Result<Response<pb::UpdateOrganizationResponse>, Status> {
        let call = self.edge.enter(request).await?;
        let command = call.mutation(|v, r| {
            let org_id = field::id(v, "org_id", &r.org_id);
            let changes = convert::changes(v, r);
            Some(UpdateOrganization {
                org_id: org_id?,
                changes,
                etag: r.etag.clone(),
            })
        })?;
        let done = self.edge.mutate(&call, &command).await?;
        Ok(Response::new(pb::UpdateOrganizationResponse {
            organization: Some(to_proto(&done.view)),
            consistency_token: done.consistency_token,
        }))
    }
}
