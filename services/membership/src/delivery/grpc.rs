//! What the operator sees.
use parta_proto::parta::membership::v1::{self as pb, operator_service_server::OperatorService};
use tonic::{Request, Response};

use crate::context::Context;
use crate::{convert, grpc::Answer};

#[tonic::async_trait]
impl OperatorService for Context {
    async fn list_outbox_messages(
        &self,
        request: Request<pb::ListOutboxMessagesRequest>,
    ) -> Answer<pb::ListOutboxMessagesResponse> {
        let (caller, request) = self.enter(request).await?;
        let page = convert::page(request.page_size, &request.page_token, request.recipient.clone())?;
        Ok(Response::new(
            self.list_outbox(&caller, &request.recipient, page).await?,
        ))
    }
}
