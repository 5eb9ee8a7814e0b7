//! `parta.membership.v1.AccountService`: decodes, calls the edge, encodes.
use std::sync::Arc;

use parta_edge::Edge;
use parta_proto::timestamp;
use parta_proto_membership::v1::{self as pb, account_service_server::AccountService};
use parta_status::{RpcError, field};
use tonic::{Request, Response, Status};

use super::operations::{ConfirmContactChange, RequestContactChange};
use crate::{
    context::Context,
    sign_in::{self, SignInMetrics},
};

/// The server of the service.
#[derive(Clone)]
pub(crate) struct Accounts {
    edge: Edge<Context>,
    /// Refuses tokens of an ended session in this process at once.
    context: Arc<Context>,
    metrics: SignInMetrics,
}

impl Accounts {
    pub(crate) fn new(edge: Edge<Context>, context: Arc<Context>) -> Self {
        let metrics = SignInMetrics::new();
        Self {
            edge,
            context,
            metrics,
        }
    }
}

#[tonic::async_trait]
impl AccountService for Accounts {
    async fn request_contact_change(
        &self,
        request: Request<pb::RequestContactChangeRequest>,
    ) -> Result<Response<pb::RequestContactChangeResponse>, Status> {
        let call = self.edge.enter(request).await?;
        let costly = self.context.channels.costly_numbers;
        let command = call.mutation(|v, r| {
            let address = sign_in::address(v, &r.phone, &r.email, costly)?;
            Some(RequestContactChange { address })
        })?;
        let done = self.edge.mutate(&call, &command).await.map_err(RpcError::from);
        let done = self.metrics.count("request_contact_change", done)?;
        Ok(Response::new(pb::RequestContactChangeResponse {
            flow_id: done.view.flow_id.to_string(),
            resend_time: Some(timestamp(done.view.resend_time)),
            expire_time: Some(timestamp(done.view.expire_time)),
            consistency_token: done.consistency_token,
        }))
    }

    async fn confirm_contact_change(
        &self,
        request: Request<pb::ConfirmContactChangeRequest>,
    ) -> Result<Response<pb::ConfirmContactChangeResponse>, Status> {
        let call = self.edge.enter(request).await?;
        let act = call.query(|v, r| {
            let flow_id = field::id(v, "flow_id", &r.flow_id);
            let present_code = field::text(v, "present_code", &r.present_code, 1..=16, false);
            let new_code = field::text(v, "new_code", &r.new_code, 1..=16, false);
            Some(ConfirmContactChange {
                flow_id: flow_id?,
                present_code,
                new_code,
            })
        })?;
        let ended = self.edge.mutate_unclaimed(&call, &act).await;
        let ended = self
            .metrics
            .count("confirm_contact_change", ended.map_err(RpcError::from))?;
        for session in ended {
            self.context.verifier.revoke_session(session);
        }
        Ok(Response::new(pb::ConfirmContactChangeResponse {}))
    }
}
