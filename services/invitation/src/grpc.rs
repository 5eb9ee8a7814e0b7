//! `parta.invitation.v1.InvitationService`: each RPC belongs to the part of one feature.
use std::sync::Arc;

use parta_edge::Edge;
use parta_proto_invitation::v1::{self as pb, invitation_service_server::InvitationService};
use tonic::{Request, Response, Status};

use crate::{
    acceptance::grpc::Acceptance, context::Context, invitations::grpc::Invitations, lineage::grpc::Lineage,
};

type Reply<T> = Result<Response<T>, Status>;

#[derive(Clone)]
pub(crate) struct Server {
    invitations: Invitations,
    acceptance: Acceptance,
    lineage: Lineage,
}

impl Server {
    pub(crate) fn new(edge: Edge<Context>, context: Arc<Context>) -> Self {
        Self {
            invitations: Invitations::new(edge.clone(), context.clone()),
            acceptance: Acceptance::new(edge.clone(), context),
            lineage: Lineage::new(edge),
        }
    }
}

#[tonic::async_trait]
impl InvitationService for Server {
    async fn create_invitation(
        &self,
        request: Request<pb::CreateInvitationRequest>,
    ) -> Reply<pb::CreateInvitationResponse> {
        self.invitations.create(request).await
    }

    async fn get_invitation(
        &self,
        request: Request<pb::GetInvitationRequest>,
    ) -> Reply<pb::GetInvitationResponse> {
        self.invitations.get(request).await
    }

    async fn get_invitation_link(
        &self,
        request: Request<pb::GetInvitationLinkRequest>,
    ) -> Reply<pb::GetInvitationLinkResponse> {
        self.invitations.get_link(request).await
    }

    async fn list_invitations(
        &self,
        request: Request<pb::ListInvitationsRequest>,
    ) -> Reply<pb::ListInvitationsResponse> {
        self.invitations.list(request).await
    }

    async fn list_invitation_uses(
        &self,
        request: Request<pb::ListInvitationUsesRequest>,
    ) -> Reply<pb::ListInvitationUsesResponse> {
        self.lineage.list_uses(request).await
    }

    async fn resolve_invitation(
        &self,
        request: Request<pb::ResolveInvitationRequest>,
    ) -> Reply<pb::ResolveInvitationResponse> {
        self.invitations.resolve(request).await
    }

    async fn accept_invitation(
        &self,
        request: Request<pb::AcceptInvitationRequest>,
    ) -> Reply<pb::AcceptInvitationResponse> {
        self.acceptance.accept(request).await
    }

    async fn revoke_invitation(
        &self,
        request: Request<pb::RevokeInvitationRequest>,
    ) -> Reply<pb::RevokeInvitationResponse> {
        let (response, revoked) = self.invitations.revoke(request).await?;
        self.acceptance.end_requests(&revoked).await;
        Ok(response)
    }

    async fn adopt_invitations(
        &self,
        request: Request<pb::AdoptInvitationsRequest>,
    ) -> Reply<pb::AdoptInvitationsResponse> {
        self.invitations.adopt(request).await
    }

    async fn extend_invitations(
        &self,
        request: Request<pb::ExtendInvitationsRequest>,
    ) -> Reply<pb::ExtendInvitationsResponse> {
        self.invitations.extend(request).await
    }

    async fn bulk_revoke_invitations(
        &self,
        request: Request<pb::BulkRevokeInvitationsRequest>,
    ) -> Reply<pb::BulkRevokeInvitationsResponse> {
        let (response, revoked) = self.invitations.bulk_revoke(request).await?;
        self.acceptance.end_requests(&revoked).await;
        Ok(response)
    }
}
