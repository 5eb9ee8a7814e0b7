//! `parta.membership.v1.OneTimeCodeService`: decodes, calls the edge, encodes.
use std::sync::Arc;

use chrono::{DateTime, Utc};
use parta_edge::Edge;
use parta_ids::{MemberId, OrgId, optional_text};
use parta_mutations::request_uuid;
use parta_proto::timestamp;
use parta_proto_membership::v1::{self as pb, one_time_code_service_server::OneTimeCodeService};
use parta_status::{FieldViolations, RpcError, field};
use tonic::{Request, Response, Status};

use super::{
    model::{CodeState, OneTimeCode},
    operations::{
        ConfirmOneTimeCode, GetOneTimeCode, IssueOneTimeCode, IssuedView, RedeemOneTimeCode, Redeemed,
        RevokeOneTimeCode,
    },
};
use crate::{context::Context, sign_in::SignInMetrics};

/// The longest text of a code with separators.
const TEXT_MAX: usize = 64;

/// The server of the service.
#[derive(Clone)]
pub(crate) struct OneTimeCodes {
    edge: Edge<Context>,
    /// Refuses tokens of an ended session in this process at once.
    context: Arc<Context>,
    metrics: SignInMetrics,
}

impl OneTimeCodes {
    pub(crate) fn new(edge: Edge<Context>, context: Arc<Context>) -> Self {
        let metrics = SignInMetrics::new();
        Self {
            edge,
            context,
            metrics,
        }
    }

    fn to_proto(&self, code: &OneTimeCode) -> pb::OneTimeCode {
        let state = match code.state(self.context.db.env().now()) {
            CodeState::Requested => pb::OneTimeCodeState::Requested,
            CodeState::Issued => pb::OneTimeCodeState::Issued,
            CodeState::Used => pb::OneTimeCodeState::Used,
            CodeState::Confirmed => pb::OneTimeCodeState::Confirmed,
            CodeState::Expired => pb::OneTimeCodeState::Expired,
        };
        pb::OneTimeCode {
            org_id: code.org_id.to_string(),
            member_id: code.member_id.to_string(),
            state: state.into(),
            requester_id: optional_text(code.requester_id),
            issuer_id: optional_text(code.issuer_id),
            create_time: Some(timestamp(code.create_time)),
            expire_time: Some(timestamp(code.expire_time)),
            use_time: code.used.map(|used| timestamp(used.time)),
            confirm_time: code.confirm_time.map(timestamp),
            confirmer_id: optional_text(code.confirmer_id),
        }
    }
}

/// The member of a request.
fn member(violations: &mut FieldViolations, org_id: &str, member_id: &str) -> Option<(OrgId, MemberId)> {
    let org_id = field::id(violations, "org_id", org_id);
    let member_id = field::id(violations, "member_id", member_id);
    Some((org_id?, member_id?))
}

fn use_time(
    violations: &mut FieldViolations,
    request: &pb::ConfirmOneTimeCodeRequest,
) -> Option<DateTime<Utc>> {
    let time = request.use_time.as_ref().and_then(parta_proto::time);
    violations.check(time.is_some(), "use_time", "must be a valid time");
    time
}

#[tonic::async_trait]
impl OneTimeCodeService for OneTimeCodes {
    async fn issue_one_time_code(
        &self,
        request: Request<pb::IssueOneTimeCodeRequest>,
    ) -> Result<Response<pb::IssueOneTimeCodeResponse>, Status> {
        let call = self.edge.enter(request).await?;
        let command = call.mutation(|v, r| {
            let (org_id, member_id) = member(v, &r.org_id, &r.member_id)?;
            Some(IssueOneTimeCode { org_id, member_id })
        })?;
        let done = self.edge.mutate(&call, &command).await?;
        let IssuedView { code, text } = done.view;
        Ok(Response::new(pb::IssueOneTimeCodeResponse {
            one_time_code: Some(self.to_proto(&code)),
            code: text.unwrap_or_default(),
            consistency_token: done.consistency_token,
        }))
    }

    async fn get_one_time_code(
        &self,
        request: Request<pb::GetOneTimeCodeRequest>,
    ) -> Result<Response<pb::GetOneTimeCodeResponse>, Status> {
        let call = self.edge.enter(request).await?;
        let query = call.query(|v, r| {
            let (org_id, member_id) = member(v, &r.org_id, &r.member_id)?;
            Some(GetOneTimeCode { org_id, member_id })
        })?;
        let code = self.edge.query(&call, &query).await?;
        Ok(Response::new(pb::GetOneTimeCodeResponse {
            one_time_code: Some(self.to_proto(&code)),
        }))
    }

    async fn redeem_one_time_code(
        &self,
        request: Request<pb::RedeemOneTimeCodeRequest>,
    ) -> Result<Response<pb::RedeemOneTimeCodeResponse>, Status> {
        let call = self.edge.enter(request).await?;
        let act = call.mutation(|v, r| {
            let text = field::text(v, "code", &r.code, 1..=TEXT_MAX, false);
            Some(RedeemOneTimeCode {
                request_id: request_uuid(&r.request_id)?,
                text,
            })
        })?;
        let redeemed = self.edge.mutate_unclaimed(&call, &act).await;
        let redeemed = self
            .metrics
            .count("redeem_one_time_code", redeemed.map_err(RpcError::from))?;
        let Redeemed {
            org_id,
            tokens,
            ended,
        } = redeemed;
        for session in ended {
            self.context.verifier.revoke_session(session);
        }
        Ok(Response::new(pb::RedeemOneTimeCodeResponse {
            account_id: tokens.account_id.to_string(),
            session_id: tokens.session_id.to_string(),
            org_id: org_id.to_string(),
            refresh_token: tokens.refresh_token,
            access_token: tokens.access_token.text,
            expire_time: Some(timestamp(tokens.access_token.expire_time)),
            ..Default::default()
        }))
    }

    async fn confirm_one_time_code(
        &self,
        request: Request<pb::ConfirmOneTimeCodeRequest>,
    ) -> Result<Response<pb::ConfirmOneTimeCodeResponse>, Status> {
        let call = self.edge.enter(request).await?;
        let command = call.mutation(|v, r| {
            let use_time = use_time(v, r);
            let (org_id, member_id) = member(v, &r.org_id, &r.member_id)?;
            Some(ConfirmOneTimeCode {
                org_id,
                member_id,
                use_time: use_time?,
            })
        })?;
        let done = self.edge.mutate(&call, &command).await?;
        Ok(Response::new(pb::ConfirmOneTimeCodeResponse {
            one_time_code: Some(self.to_proto(&done.view)),
            consistency_token: done.consistency_token,
        }))
    }

    async fn revoke_one_time_code(
        &self,
        request: Request<pb::RevokeOneTimeCodeRequest>,
    ) -> Result<Response<pb::RevokeOneTimeCodeResponse>, Status> {
        let call = self.edge.enter(request).await?;
        let command = call.mutation(|v, r| {
            let (org_id, member_id) = member(v, &r.org_id, &r.member_id)?;
            Some(RevokeOneTimeCode { org_id, member_id })
        })?;
        let done = self.edge.mutate(&call, &command).await?;
        for session in done.view {
            self.context.verifier.revoke_session(session);
        }
        Ok(Response::new(pb::RevokeOneTimeCodeResponse {
            consistency_token: done.consistency_token,
        }))
    }
}
