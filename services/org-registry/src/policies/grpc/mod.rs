//! `parta.org_registry.v1.PolicyService`: decodes requests, calls the edge, and encodes responses.
mod convert;

use parta_edge::{Edge, PageRequest};
use parta_proto_org_registry::v1::{self as pb, policy_service_server::PolicyService};
use parta_status::field;
use tonic::{Request, Response, Status};

use super::operations::{
    ConfirmPolicyChange, ConfirmedChange, DropPolicyChange, ListPendingPolicyChanges, ListPolicyChanges,
    PreviewPolicies, UpdatePolicies, UpdatedPolicies,
};
use crate::{context::Context, organizations::policies_to_proto};
use convert::to_proto;

/// The server of the service.
#[derive(Clone)]
pub(crate) struct PolicyChanges {
    edge: Edge<Context>,
}

impl PolicyChanges {
    pub(crate) fn new(edge: Edge<Context>) -> Self {
        Self { edge }
    }
}

#[tonic::async_trait]
impl PolicyService for PolicyChanges {
    async fn preview_policies(
        &self,
        request: Request<pb::PreviewPoliciesRequest>,
    ) -> Result<Response<pb::PreviewPoliciesResponse>, Status> {
        let call = self.edge.enter(request).await?;
        let query = call.query(|v, r| {
            let org_id = field::id(v, "org_id", &r.org_id);
            let wanted = convert::wanted(v, r.policies.as_ref(), r.update_mask.as_ref());
            Some(PreviewPolicies {
                org_id: org_id?,
                wanted,
            })
        })?;
        let preview = self.edge.query(&call, &query).await?;
        Ok(Response::new(pb::PreviewPoliciesResponse {
            values: preview.values.iter().map(convert::value).collect(),
            version: preview.version,
            preview_etag: preview.etag,
            operator_confirms: preview.operator_confirms,
        }))
    }

    async fn update_policies(
        &self,
        request: Request<pb::UpdatePoliciesRequest>,
    ) -> Result<Response<pb::UpdatePoliciesResponse>, Status> {
        let call = self.edge.enter(request).await?;
        let command = call.mutation(|v, r| {
            let org_id = field::id(v, "org_id", &r.org_id);
            let wanted = convert::wanted(v, r.policies.as_ref(), r.update_mask.as_ref());
            let preview_etag = convert::preview_etag(v, &r.preview_etag);
            Some(UpdatePolicies {
                org_id: org_id?,
                wanted,
                preview_etag,
            })
        })?;
        let done = self.edge.mutate(&call, &command).await?;
        let UpdatedPolicies {
            organization,
            applied,
            pending,
        } = done.view;
        Ok(Response::new(pb::UpdatePoliciesResponse {
            policies: Some(policies_to_proto(&organization)),
            applied_change: applied.as_ref().map(to_proto),
            pending_change: pending.as_ref().map(to_proto),
            consistency_token: done.consistency_token,
        }))
    }

    async fn confirm_policy_change(
        &self,
        request: Request<pb::ConfirmPolicyChangeRequest>,
    ) -> Result<Response<pb::ConfirmPolicyChangeResponse>, Status> {
        let call = self.edge.enter(request).await?;
        let command = call.mutation(|v, r| {
            let org_id = field::id(v, "org_id", &r.org_id);
            let change_id = field::id(v, "policy_change_id", &r.policy_change_id);
            let preview_etag = convert::preview_etag(v, &r.preview_etag);
            let order = r.order.as_ref().and_then(|order| convert::order(v, order));
            Some(ConfirmPolicyChange {
                org_id: org_id?,
                change_id: change_id?,
                preview_etag,
                order,
            })
        })?;
        let done = self.edge.mutate(&call, &command).await?;
        let ConfirmedChange { organization, shown } = done.view;
        Ok(Response::new(pb::ConfirmPolicyChangeResponse {
            policies: Some(policies_to_proto(&organization)),
            change: Some(to_proto(&shown)),
            consistency_token: done.consistency_token,
        }))
    }

    async fn drop_policy_change(
        &self,
        request: Request<pb::DropPolicyChangeRequest>,
    ) -> Result<Response<pb::DropPolicyChangeResponse>, Status> {
        let call = self.edge.enter(request).await?;
        let command = call.mutation(|v, r| {
            let org_id = field::id(v, "org_id", &r.org_id);
            let change_id = field::id(v, "policy_change_id", &r.policy_change_id);
            Some(DropPolicyChange {
                org_id: org_id?,
                change_id: change_id?,
            })
        })?;
        let done = self.edge.mutate(&call, &command).await?;
        Ok(Response::new(pb::DropPolicyChangeResponse {
            change: Some(to_proto(&done.view)),
            consistency_token: done.consistency_token,
        }))
    }

    async fn list_policy_changes(
        &self,
        request: Request<pb::ListPolicyChangesRequest>,
    ) -> Result<Response<pb::ListPolicyChangesResponse>, Status> {
        let call = self.edge.enter(request).await?;
        let query = call.query(|v, r| {
            let org_id = field::id(v, "org_id", &r.org_id);
            let filter = format!("policy changes {} {}", r.org_id, r.pending_only);
            let page = PageRequest::decode(v, r.page_size, &r.page_token, filter);
            Some(ListPolicyChanges {
                org_id: org_id?,
                pending_only: r.pending_only,
                page: page?,
            })
        })?;
        let page = self.edge.query(&call, &query).await?;
        Ok(Response::new(pb::ListPolicyChangesResponse {
            changes: page.items.iter().map(to_proto).collect(),
            next_page_token: page.next_page_token,
        }))
    }

    async fn list_pending_policy_changes(
        &self,
        request: Request<pb::ListPendingPolicyChangesRequest>,
    ) -> Result<Response<pb::ListPendingPolicyChangesResponse>, Status> {
        let call = self.edge.enter(request).await?;
        let query = call.query(|v, r| {
            let filter = "pending policy changes".to_owned();
            Some(ListPendingPolicyChanges {
                page: PageRequest::decode(v, r.page_size, &r.page_token, filter)?,
            })
        })?;
        let page = self.edge.query(&call, &query).await?;
        Ok(Response::new(pb::ListPendingPolicyChangesResponse {
            changes: page.items.iter().map(to_proto).collect(),
            next_page_token: page.next_page_token,
        }))
    }
}
