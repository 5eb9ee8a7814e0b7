use parta_proto::parta::chat::internal::v1::{self as pb, announcement_service_server::AnnouncementService};
use tonic::{Request, Response};

use crate::{
    chats::grpc::{Answer, convert},
    context::App,
};

#[tonic::async_trait]
impl AnnouncementService for App {
    async fn post_announcement(
        &self,
        request: Request<pb::PostAnnouncementRequest>,
    ) -> Answer<pb::PostAnnouncementResponse> {
        let (caller, request) = self.enter(request).await?;
        let (place, request_id, text) = convert::announcement(&request)?;
        let (chat, stored) = self.announce(&caller, place, request_id, text).await?;
        Ok(Response::new(pb::PostAnnouncementResponse {
            chat_id: chat.to_string(),
            seq: stored.seq,
            consistency_token: String::new(),
        }))
    }
}
