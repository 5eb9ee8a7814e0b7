use parta_proto::parta::chat::v1::{self as pb, message_service_server::MessageService};
use parta_status::invalid;
use parta_storage::Mutation;
use tonic::{Request, Response};

use crate::{
    chats::grpc::{Answer, convert},
    context::App,
};

#[tonic::async_trait]
impl MessageService for App {
    async fn send_message(
        &self,
        request: Request<pb::SendMessageRequest>,
    ) -> Answer<pb::SendMessageResponse> {
        let (caller, request) = self.enter(request).await?;
        let stored = self.send(&caller, convert::send_message(&request)?).await?;
        Ok(Response::new(pb::SendMessageResponse {
            entry_id: stored.entry_id.to_string(),
            seq: stored.seq,
            create_time: Some(convert::timestamp(stored.create_time)),
            consistency_token: String::new(),
        }))
    }

    async fn list_entries(
        &self,
        request: Request<pb::ListEntriesRequest>,
    ) -> Answer<pb::ListEntriesResponse> {
        let (caller, request) = self.enter(request).await?;
        let place = convert::pair(&request.org_id, "chat_id", &request.chat_id)?;
        if request.after_seq.is_some_and(|seq| seq < 0) {
            return Err(invalid("after_seq", "must not be negative").into());
        }
        let page = (request.page_size, request.page_token.as_str());
        Ok(Response::new(
            self.list_entries(&caller, place, request.after_seq, page).await?,
        ))
    }

    async fn mark_read(&self, request: Request<pb::MarkReadRequest>) -> Answer<pb::MarkReadResponse> {
        let (caller, request) = self.enter(request).await?;
        let mutation = Mutation::new(&caller, &request.request_id, &request)?;
        let place = convert::pair(&request.org_id, "chat_id", &request.chat_id)?;
        if request.seq < 0 {
            return Err(invalid("seq", "must not be negative").into());
        }
        Ok(Response::new(
            self.mark_read(&caller, &mutation, place, request.seq).await?,
        ))
    }
}
