use parta_proto::parta::chat::v1::{self as pb, chat_service_server::ChatService};
use parta_storage::Mutation;
use tonic::{Request, Response};

use super::{Answer, convert};
use crate::context::App;

#[tonic::async_trait]
impl ChatService for App {
    async fn create_chat(&self, request: Request<pb::CreateChatRequest>) -> Answer<pb::CreateChatResponse> {
        let (caller, request) = self.enter(request).await?;
        let mutation = Mutation::new(&caller, &request.request_id, &request)?;
        let create = convert::create_chat(&request)?;
        Ok(Response::new(self.create_chat(&caller, &mutation, create).await?))
    }

    async fn create_direct_chat(
        &self,
        request: Request<pb::CreateDirectChatRequest>,
    ) -> Answer<pb::CreateDirectChatResponse> {
        let (caller, request) = self.enter(request).await?;
        let mutation = Mutation::new(&caller, &request.request_id, &request)?;
        let pair = convert::pair(&request.org_id, "member_id", &request.member_id)?;
        Ok(Response::new(self.create_direct(&caller, &mutation, pair).await?))
    }

    async fn get_chat(&self, request: Request<pb::GetChatRequest>) -> Answer<pb::GetChatResponse> {
        let (caller, request) = self.enter(request).await?;
        let (org, chat) = convert::pair(&request.org_id, "chat_id", &request.chat_id)?;
        let chat = Some(self.get_chat(&caller, org, chat).await?);
        Ok(Response::new(pb::GetChatResponse { chat }))
    }

    async fn list_chats(&self, request: Request<pb::ListChatsRequest>) -> Answer<pb::ListChatsResponse> {
        let (caller, request) = self.enter(request).await?;
        let org = convert::org(&request.org_id)?;
        Ok(Response::new(
            self.list_chats(&caller, org, (request.page_size, &request.page_token))
                .await?,
        ))
    }

    async fn add_participants(
        &self,
        request: Request<pb::AddParticipantsRequest>,
    ) -> Answer<pb::AddParticipantsResponse> {
        let (caller, request) = self.enter(request).await?;
        let mutation = Mutation::new(&caller, &request.request_id, &request)?;
        let (org, chat, members) = convert::people(&request.org_id, &request.chat_id, &request.member_ids)?;
        Ok(Response::new(
            self.add_participants(&caller, &mutation, org, chat, &members)
                .await?,
        ))
    }

    async fn remove_participants(
        &self,
        request: Request<pb::RemoveParticipantsRequest>,
    ) -> Answer<pb::RemoveParticipantsResponse> {
        let (caller, request) = self.enter(request).await?;
        let mutation = Mutation::new(&caller, &request.request_id, &request)?;
        let (org, chat, members) = convert::people(&request.org_id, &request.chat_id, &request.member_ids)?;
        Ok(Response::new(
            self.remove_participants(&caller, &mutation, org, chat, &members)
                .await?,
        ))
    }

    async fn list_participants(
        &self,
        request: Request<pb::ListParticipantsRequest>,
    ) -> Answer<pb::ListParticipantsResponse> {
        let (caller, request) = self.enter(request).await?;
        let place = convert::pair(&request.org_id, "chat_id", &request.chat_id)?;
        let page = (request.page_size, request.page_token.as_str());
        Ok(Response::new(self.list_participants(&caller, place, page).await?))
    }
}
