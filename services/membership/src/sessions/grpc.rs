//! `parta.membership.v1.AuthenticationService`: decodes, calls the edge, encodes. Its acts belong to sign-in,
//! sessions and admission.
use std::sync::Arc;

use parta_access::LinkDigest;
use parta_edge::{Edge, PageRequest};
use parta_ids::SessionId;
use parta_proto::timestamp;
use parta_proto_membership::v1::{self as pb, authentication_service_server::AuthenticationService};
use parta_status::{FieldViolations, RpcError, field};
use tonic::{Request, Response, Status};

use super::{
    model::Session,
    operations::{
        EndSession, IssueOrganizationToken, ListMemberships, ListSessions, MembershipView, RefreshSession,
        Refreshed, StartSession, Who,
    },
};
use crate::{
    accounts::Account,
    admission::CreateJoinTicket,
    context::Context,
    error::Error,
    member_records::events::roles,
    sign_in::{self, RequestCode, SignInMetrics, VerifyCode},
};

/// The server of the service.
#[derive(Clone)]
pub(crate) struct Authentication {
    edge: Edge<Context>,
    /// Signs tokens, and refuses those of an ended session in this process at once; other processes learn it
    /// at their next poll.
    context: Arc<Context>,
    metrics: SignInMetrics,
}

impl Authentication {
    pub(crate) fn new(edge: Edge<Context>, context: Arc<Context>) -> Self {
        let metrics = SignInMetrics::new();
        Self {
            edge,
            context,
            metrics,
        }
    }
}

fn who(violations: &mut FieldViolations, request: &pb::StartSessionRequest) -> Option<Who> {
    match (request.account_id.as_str(), &request.new_account) {
        (account, None) => field::id(violations, "account_id", account).map(Who::Known),
        ("", Some(new)) => {
            let path = "new_account.full_name";
            let full_name = field::name(violations, path, &new.full_name, 1..=200);
            Some(Who::New(full_name))
        }
        _ => {
            violations.add(
                "account_id",
                "exactly one of account_id and new_account is required",
            );
            None
        }
    }
}

fn profile(account: Account) -> pb::AccountProfile {
    pb::AccountProfile {
        account_id: account.id.to_string(),
        full_name: account.full_name,
    }
}

fn session(session: &Session, current: SessionId) -> pb::Session {
    pb::Session {
        id: session.id.to_string(),
        create_time: Some(timestamp(session.create_time)),
        refresh_time: Some(timestamp(session.refresh_time)),
        current: session.id == current,
    }
}

fn membership(view: MembershipView) -> pb::Membership {
    pb::Membership {
        org_id: view.member.org_id.to_string(),
        organization_display_name: view.organization_display_name,
        member_id: view.member.id.to_string(),
        roles: roles(&view.member),
    }
}

#[tonic::async_trait]
impl AuthenticationService for Authentication {
    async fn request_code(
        &self,
        request: Request<pb::RequestCodeRequest>,
    ) -> Result<Response<pb::RequestCodeResponse>, Status> {
        let call = self.edge.enter(request).await?;
        let costly = self.context.channels.costly_numbers;
        let command = call.mutation(|v, r| {
            let address = sign_in::address(v, &r.phone, &r.email, costly)?;
            Some(RequestCode { address })
        })?;
        let done = self.edge.mutate(&call, &command).await.map_err(RpcError::from);
        let done = self.metrics.count("request_code", done)?;
        Ok(Response::new(pb::RequestCodeResponse {
            flow_id: done.view.flow_id.to_string(),
            resend_time: Some(timestamp(done.view.resend_time)),
            expire_time: Some(timestamp(done.view.expire_time)),
            consistency_token: done.consistency_token,
        }))
    }

    async fn verify_code(
        &self,
        request: Request<pb::VerifyCodeRequest>,
    ) -> Result<Response<pb::VerifyCodeResponse>, Status> {
        let call = self.edge.enter(request).await?;
        let act = call.query(|v, r| {
            let flow_id = field::id(v, "flow_id", &r.flow_id);
            let code = field::text(v, "code", &r.code, 1..=16, false);
            Some(VerifyCode {
                flow_id: flow_id?,
                code,
            })
        })?;
        let verified = self
            .edge
            .mutate_unclaimed(&call, &act)
            .await
            .map_err(RpcError::from);
        let verified = self.metrics.count("verify_code", verified)?;
        Ok(Response::new(pb::VerifyCodeResponse {
            profiles: verified.people.into_iter().map(profile).collect(),
            proof: verified.proof,
        }))
    }

    async fn start_session(
        &self,
        request: Request<pb::StartSessionRequest>,
    ) -> Result<Response<pb::StartSessionResponse>, Status> {
        let call = self.edge.enter(request).await?;
        let command = call.mutation(|v, r| {
            let flow_id = field::id(v, "flow_id", &r.flow_id);
            let who = who(v, r);
            let proof = field::text(v, "proof", &r.proof, 1..=64, false);
            Some(StartSession {
                flow_id: flow_id?,
                proof,
                who: who?,
            })
        })?;
        let done = self.edge.mutate(&call, &command).await?;
        Ok(Response::new(pb::StartSessionResponse {
            account_id: done.view.account_id.to_string(),
            session_id: done.view.session_id.to_string(),
            refresh_token: done.view.refresh_token,
            access_token: done.view.access_token.text,
            expire_time: Some(timestamp(done.view.access_token.expire_time)),
            consistency_token: done.consistency_token,
        }))
    }

    async fn refresh_session(
        &self,
        request: Request<pb::RefreshSessionRequest>,
    ) -> Result<Response<pb::RefreshSessionResponse>, Status> {
        let call = self.edge.enter(request).await?;
        let act = call.mutation(|_, r| {
            Some(RefreshSession {
                refresh_token: r.refresh_token.clone(),
            })
        })?;
        match self.edge.mutate_unclaimed(&call, &act).await? {
            Refreshed::Tokens {
                refresh_token,
                access_token,
            } => Ok(Response::new(pb::RefreshSessionResponse {
                refresh_token,
                access_token: access_token.text,
                expire_time: Some(timestamp(access_token.expire_time)),
                ..Default::default()
            })),
            Refreshed::Ended(session) => {
                self.context.verifier.revoke_session(session);
                Err(Error::session_ended().into())
            }
        }
    }

    async fn end_session(
        &self,
        request: Request<pb::EndSessionRequest>,
    ) -> Result<Response<pb::EndSessionResponse>, Status> {
        let call = self.edge.enter(request).await?;
        let command = call.mutation(|v, r| {
            let session_id = field::optional_id(v, "session_id", &r.session_id);
            Some(EndSession { session_id })
        })?;
        let done = self.edge.mutate(&call, &command).await?;
        for session in done.view {
            self.context.verifier.revoke_session(session);
        }
        Ok(Response::new(pb::EndSessionResponse {
            consistency_token: done.consistency_token,
        }))
    }

    async fn list_sessions(
        &self,
        request: Request<pb::ListSessionsRequest>,
    ) -> Result<Response<pb::ListSessionsResponse>, Status> {
        let call = self.edge.enter(request).await?;
        let query = call.query(|v, r| {
            let page = PageRequest::decode(v, r.page_size, &r.page_token, String::new());
            Some(ListSessions { page: page? })
        })?;
        let found = self.edge.query(&call, &query).await?;
        let sessions = found.page.items.iter().map(|row| session(row, found.current));
        Ok(Response::new(pb::ListSessionsResponse {
            sessions: sessions.collect(),
            next_page_token: found.page.next_page_token,
        }))
    }

    async fn issue_organization_token(
        &self,
        request: Request<pb::IssueOrganizationTokenRequest>,
    ) -> Result<Response<pb::IssueOrganizationTokenResponse>, Status> {
        let call = self.edge.enter(request).await?;
        let query = call.query(|v, r| {
            let org_id = field::id(v, "org_id", &r.org_id)?;
            Some(IssueOrganizationToken { org_id })
        })?;
        let issued = self.edge.query(&call, &query).await?;
        Ok(Response::new(pb::IssueOrganizationTokenResponse {
            access_token: issued.access_token.text,
            expire_time: Some(timestamp(issued.access_token.expire_time)),
            member_id: issued.member_id.to_string(),
            consistency_token: issued.consistency_token,
        }))
    }

    async fn create_join_ticket(
        &self,
        request: Request<pb::CreateJoinTicketRequest>,
    ) -> Result<Response<pb::CreateJoinTicketResponse>, Status> {
        let call = self.edge.enter(request).await?;
        let command = call.mutation(|v, r| {
            let link = field::text(v, "invitation_token", &r.invitation_token, 1..=512, false);
            Some(CreateJoinTicket {
                link: LinkDigest::of(&link),
            })
        })?;
        let done = self.edge.mutate(&call, &command).await?;
        Ok(Response::new(pb::CreateJoinTicketResponse {
            flow_id: done.view.flow_id.to_string(),
            ticket: done.view.ticket.text,
            expire_time: Some(timestamp(done.view.ticket.expire_time)),
            consistency_token: done.consistency_token,
        }))
    }

    async fn list_memberships(
        &self,
        request: Request<pb::ListMembershipsRequest>,
    ) -> Result<Response<pb::ListMembershipsResponse>, Status> {
        let call = self.edge.enter(request).await?;
        let query = call.query(|v, r| {
            let page = PageRequest::decode(v, r.page_size, &r.page_token, String::new());
            Some(ListMemberships { page: page? })
        })?;
        let page = self.edge.query(&call, &query).await?;
        Ok(Response::new(pb::ListMembershipsResponse {
            memberships: page.items.into_iter().map(membership).collect(),
            next_page_token: page.next_page_token,
        }))
    }

    /// Reads nothing from the database, so it opens no transaction: the keys are those of the process.
    async fn get_jwks(
        &self,
        request: Request<pb::GetJwksRequest>,
    ) -> Result<Response<pb::GetJwksResponse>, Status> {
        self.edge.enter(request).await?;
        Ok(Response::new(pb::GetJwksResponse {
            jwks: self.context.issuer.jwks().to_json(),
        }))
    }
}
