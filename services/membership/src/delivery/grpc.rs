//! `parta.membership.v1.OperatorService`: decodes, calls the edge, encodes. Its acts belong to delivery and
//! sign-in.
use parta_edge::{Edge, PageRequest};
use parta_proto::timestamp;
use parta_proto_membership::v1::{self as pb, operator_service_server::OperatorService};
use tonic::{Request, Response, Status};

use super::{model::OutboxMessage, operations::ListOutboxMessages};
use crate::{
    context::Context,
    sign_in::{self, UnlockAddress},
};

/// The server of the service.
#[derive(Clone)]
pub(crate) struct Operator {
    edge: Edge<Context>,
}

impl Operator {
    pub(crate) fn new(edge: Edge<Context>) -> Self {
        Self { edge }
    }
}

fn to_proto(message: OutboxMessage) -> pb::OutboxMessage {
    pb::OutboxMessage {
        recipient: message.recipient,
        text: message.text,
        create_time: Some(timestamp(message.create_time)),
    }
}

#[tonic::async_trait]
impl OperatorService for Operator {
    async fn list_outbox_messages(
        &self,
        request: Request<pb::ListOutboxMessagesRequest>,
    ) -> Result<Response<pb::ListOutboxMessagesResponse>, Status> {
        let call = self.edge.enter(request).await?;
        let query = call.query(|v, r| {
            let page = PageRequest::decode(v, r.page_size, &r.page_token, r.recipient.clone());
            let recipient = (!r.recipient.is_empty()).then(|| r.recipient.clone());
            Some(ListOutboxMessages {
                recipient,
                page: page?,
            })
        })?;
        let page = self.edge.query(&call, &query).await?;
        Ok(Response::new(pb::ListOutboxMessagesResponse {
            messages: page.items.into_iter().map(to_proto).collect(),
            next_page_token: page.next_page_token,
        }))
    }
    async fn unlock_sign_in(
        &self,
        request: Request<pb::UnlockSignInRequest>,
    ) -> Result<Response<pb::UnlockSignInResponse>, Status> {
        let call = self.edge.enter(request).await?;
        let command = call.mutation(|v, r| {
            let address = sign_in::address(v, &r.phone, &r.email, true)?;
            Some(UnlockAddress { address })
        })?;
        let done = self.edge.mutate(&call, &command).await?;
        Ok(Response::new(pb::UnlockSignInResponse {
            was_locked: done.view,
            consistency_token: done.consistency_token,
        }))
    }
}
