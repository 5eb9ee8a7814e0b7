//! The gRPC face: decode, operate, encode. No decisions here.
use parta_access::Caller;
use parta_ids::{InvitationId, OrgId};
use parta_proto::parta::invitation::v1::{
    self as pb, accept_invitation_request, invitation_service_server::InvitationService,
    resolve_invitation_request,
};
use parta_status::{FieldViolations, RpcError, field};
use parta_storage::{Mutation, page_size};
use tonic::{Request, Response, Status};

use crate::{
    context::App,
    invitations::{convert, queries::Page},
};

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl InvitationService for App {
    async fn create_invitation(
        &self,
        request: Request<pb::CreateInvitationRequest>,
    ) -> Answer<pb::CreateInvitationResponse> {
        let (caller, request) = self.enter(request).await?;
        let mutation = Mutation::new(&caller, &request.request_id, &request)?;
        Ok(Response::new(
            self.create(&caller, &mutation, convert::draft(&request)?).await?,
        ))
    }

    async fn get_invitation(
        &self,
        request: Request<pb::GetInvitationRequest>,
    ) -> Answer<pb::GetInvitationResponse> {
        let (caller, request) = self.enter(request).await?;
        let (org, id) = ids(&request.org_id, &request.invitation_id)?;
        Ok(Response::new(self.get(&caller, org, id).await?))
    }

    async fn get_invitation_link(
        &self,
        request: Request<pb::GetInvitationLinkRequest>,
    ) -> Answer<pb::GetInvitationLinkResponse> {
        let (caller, request) = self.enter(request).await?;
        let (org, id) = ids(&request.org_id, &request.invitation_id)?;
        Ok(Response::new(self.link(&caller, org, id).await?))
    }

    async fn list_invitations(
        &self,
        request: Request<pb::ListInvitationsRequest>,
    ) -> Answer<pb::ListInvitationsResponse> {
        let (caller, request) = self.enter(request).await?;
        let mut v = FieldViolations::default();
        let org = field::id::<OrgId>(&mut v, "org_id", &request.org_id);
        let filter = convert::filter(&mut v, &request);
        v.finish()?;
        let org = org.ok_or_else(|| RpcError::internal("a violation was not noted"))?;
        let page = Page {
            size: page_size(request.page_size)?,
            token: &request.page_token,
            filter: format!(
                "{}/{}/{}/{}/{}",
                request.org_id, request.unit_id, request.role, request.state, request.unused
            ),
        };
        Ok(Response::new(self.list(&caller, org, filter, page).await?))
    }

    async fn list_invitation_uses(
        &self,
        request: Request<pb::ListInvitationUsesRequest>,
    ) -> Answer<pb::ListInvitationUsesResponse> {
        let (caller, request) = self.enter(request).await?;
        let (org, id) = ids(&request.org_id, &request.invitation_id)?;
        let page = Page {
            size: page_size(request.page_size)?,
            token: &request.page_token,
            filter: format!("{}/{}", request.org_id, request.invitation_id),
        };
        Ok(Response::new(self.uses(&caller, org, id, page).await?))
    }

    async fn resolve_invitation(
        &self,
        request: Request<pb::ResolveInvitationRequest>,
    ) -> Answer<pb::ResolveInvitationResponse> {
        use resolve_invitation_request::Secret;
        let (_, request) = self.enter(request).await?;
        let (token, code) = match &request.secret {
            Some(Secret::LinkToken(token)) => (Some(token.as_str()), None),
            Some(Secret::Code(code)) => (None, Some(code.as_str())),
            None => (None, None),
        };
        let secret = convert::presented(&self.secrets, token, code)?;
        Ok(Response::new(self.resolve(secret).await?))
    }

    async fn accept_invitation(
        &self,
        request: Request<pb::AcceptInvitationRequest>,
    ) -> Answer<pb::AcceptInvitationResponse> {
        use accept_invitation_request::Secret;
        let (caller, request) = self.enter(request).await?;
        let (token, code) = match &request.secret {
            Some(Secret::LinkToken(token)) => (Some(token.as_str()), None),
            Some(Secret::Code(code)) => (None, Some(code.as_str())),
            None => (None, None),
        };
        let secret = convert::presented(&self.secrets, token, code)?;
        let mutation = Mutation::new(&caller, &request.request_id, &request)?;
        Ok(Response::new(self.accept(&caller, &mutation, secret).await?))
    }

    async fn revoke_invitation(
        &self,
        request: Request<pb::RevokeInvitationRequest>,
    ) -> Answer<pb::RevokeInvitationResponse> {
        let (caller, request) = self.enter(request).await?;
        let (org, id) = ids(&request.org_id, &request.invitation_id)?;
        let mutation = Mutation::new(&caller, &request.request_id, &request)?;
        Ok(Response::new(
            self.revoke(&caller, &mutation, org, id, &request.etag).await?,
        ))
    }

    async fn annul_invitations(
        &self,
        request: Request<pb::AnnulInvitationsRequest>,
    ) -> Answer<pb::AnnulInvitationsResponse> {
        let (caller, request) = self.enter(request).await?;
        let mutation = Mutation::new(&caller, &request.request_id, &request)?;
        Ok(Response::new(
            self.annul(&caller, &mutation, convert::annul(&request)?).await?,
        ))
    }
}

impl App {
    /// Who calls with what, once everything is known here that the caller's consistency token speaks of.
    async fn enter<T>(&self, request: Request<T>) -> Result<(Caller, T), RpcError> {
        let caller = Caller::of(&request)?;
        self.at_least.wait_for(request.metadata()).await?;
        Ok((caller, request.into_inner()))
    }
}

fn ids(org: &str, invitation: &str) -> Result<(OrgId, InvitationId), RpcError> {
    convert::ids(("org_id", org), ("invitation_id", invitation))
}
