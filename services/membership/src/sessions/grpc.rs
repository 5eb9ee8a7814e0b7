//! Sign-in, sessions and tokens.
use parta_proto::parta::membership::v1::{self as pb, authentication_service_server::AuthenticationService};
use parta_storage::Mutation;
use tonic::{Request, Response};

use crate::context::Context;
use crate::{convert, grpc::Answer};

#[tonic::async_trait]
impl AuthenticationService for Context {
    async fn request_code(
        &self,
        request: Request<pb::RequestCodeRequest>,
    ) -> Answer<pb::RequestCodeResponse> {
        let (caller, request) = self.enter(request).await?;
        let mutation = Mutation::new(&caller, &request.request_id, &request)?;
        let address = convert::address(&request)?;
        Ok(Response::new(
            self.request_code(&caller, &mutation, &address).await?,
        ))
    }

    async fn verify_code(&self, request: Request<pb::VerifyCodeRequest>) -> Answer<pb::VerifyCodeResponse> {
        let (caller, request) = self.enter(request).await?;
        let _ = caller;
        let code = convert::text("code", &request.code, 16)?;
        Ok(Response::new(
            self.verify_code(convert::id("flow_id", &request.flow_id)?, &code)
                .await?,
        ))
    }

    async fn start_session(
        &self,
        request: Request<pb::StartSessionRequest>,
    ) -> Answer<pb::StartSessionResponse> {
        let (caller, request) = self.enter(request).await?;
        let mutation = Mutation::new(&caller, &request.request_id, &request)?;
        let (flow, who) = (convert::id("flow_id", &request.flow_id)?, convert::who(&request)?);
        Ok(Response::new(
            self.start_session(&caller, &mutation, flow, &who).await?,
        ))
    }

    async fn refresh_session(
        &self,
        request: Request<pb::RefreshSessionRequest>,
    ) -> Answer<pb::RefreshSessionResponse> {
        let (caller, request) = self.enter(request).await?;
        let mutation = Mutation::new(&caller, &request.request_id, &request)?;
        Ok(Response::new(
            self.refresh_session(&caller, mutation.request_id(), &request.refresh_token)
                .await?,
        ))
    }

    async fn end_session(&self, request: Request<pb::EndSessionRequest>) -> Answer<pb::EndSessionResponse> {
        let (caller, request) = self.enter(request).await?;
        let mutation = Mutation::new(&caller, &request.request_id, &request)?;
        let session = convert::optional_id("session_id", &request.session_id)?;
        Ok(Response::new(
            self.end_session(&caller, &mutation, session).await?,
        ))
    }

    async fn list_sessions(
        &self,
        request: Request<pb::ListSessionsRequest>,
    ) -> Answer<pb::ListSessionsResponse> {
        let (caller, request) = self.enter(request).await?;
        let page = convert::page(request.page_size, &request.page_token, String::new())?;
        Ok(Response::new(self.list_sessions(&caller, page).await?))
    }

    async fn issue_organization_token(
        &self,
        request: Request<pb::IssueOrganizationTokenRequest>,
    ) -> Answer<pb::IssueOrganizationTokenResponse> {
        let (caller, request) = self.enter(request).await?;
        let org = convert::id("org_id", &request.org_id)?;
        Ok(Response::new(self.issue_organization_token(&caller, org).await?))
    }

    async fn create_join_ticket(
        &self,
        request: Request<pb::CreateJoinTicketRequest>,
    ) -> Answer<pb::CreateJoinTicketResponse> {
        let (caller, request) = self.enter(request).await?;
        let mutation = Mutation::new(&caller, &request.request_id, &request)?;
        let link = convert::text("invitation_token", &request.invitation_token, 512)?;
        Ok(Response::new(
            self.create_join_ticket(&caller, &mutation, &link).await?,
        ))
    }

    async fn list_memberships(
        &self,
        request: Request<pb::ListMembershipsRequest>,
    ) -> Answer<pb::ListMembershipsResponse> {
        let (caller, request) = self.enter(request).await?;
        let page = convert::page(request.page_size, &request.page_token, String::new())?;
        Ok(Response::new(self.list_memberships(&caller, page).await?))
    }

    async fn get_jwks(&self, request: Request<pb::GetJwksRequest>) -> Answer<pb::GetJwksResponse> {
        let (caller, request) = self.enter(request).await?;
        let _ = (caller, request);
        Ok(Response::new(pb::GetJwksResponse {
            jwks: self.issuer.jwks().to_json(),
        }))
    }
}
