//! ChatService: decodes, calls the edge, encodes.
mod convert;

use parta_edge::{Edge, PageRequest};
use parta_proto_chat::v1::{self as pb, chat_service_server::ChatService};
use parta_status::field;
use tonic::{Request, Response, Status};

use super::operations::{
    AddParticipants, ChangeChat, CreateChat, CreateDirectChat, GetChat, ListChats, ListParticipants,
    ListUnsupervisedChats, RemoveParticipants, TransferResponsibility,
};
use crate::{chats::model::TITLE_MAX, context::Context};

/// The server of ChatService.
#[derive(Clone)]
pub(crate) struct Chats {
    edge: Edge<Context>,
}

impl Chats {
    pub(crate) fn new(edge: Edge<Context>) -> Self {
        Self { edge }
    }
}

#[tonic::async_trait]
impl ChatService for Chats {
    async fn create_chat(
        &self,
        request: Request<pb::CreateChatRequest>,
    ) -> Result<Response<pb::CreateChatResponse>, Status> {
        let call = self.edge.enter(request).await?;
        let command = call.mutation(|v, r| {
            let org_id = field::id(v, "org_id", &r.org_id);
            let title = field::name(v, "title", &r.title, 1..=TITLE_MAX);
            let member_ids = convert::members(v, &r.member_ids);
            Some(CreateChat {
                org_id: org_id?,
                title,
                member_ids,
            })
        })?;
        let done = self.edge.mutate(&call, &command).await?;
        Ok(Response::new(pb::CreateChatResponse {
            chat: Some(convert::chat(&done.view)),
            consistency_token: done.consistency_token,
        }))
    }

    async fn create_direct_chat(
        &self,
        request: Request<pb::CreateDirectChatRequest>,
    ) -> Result<Response<pb::CreateDirectChatResponse>, Status> {
        let call = self.edge.enter(request).await?;
        let command = call.mutation(|v, r| {
            let org_id = field::id(v, "org_id", &r.org_id);
            let member_id = field::id(v, "member_id", &r.member_id);
            Some(CreateDirectChat {
                org_id: org_id?,
                member_id: member_id?,
            })
        })?;
        let done = self.edge.mutate(&call, &command).await?;
        Ok(Response::new(pb::CreateDirectChatResponse {
            chat: Some(convert::chat(&done.view)),
            consistency_token: done.consistency_token,
        }))
    }

    async fn get_chat(
        &self,
        request: Request<pb::GetChatRequest>,
    ) -> Result<Response<pb::GetChatResponse>, Status> {
        let call = self.edge.enter(request).await?;
        let query = call.query(|v, r| {
            let org_id = field::id(v, "org_id", &r.org_id);
            let chat_id = field::id(v, "chat_id", &r.chat_id);
            Some(GetChat {
                org_id: org_id?,
                chat_id: chat_id?,
            })
        })?;
        let view = self.edge.query(&call, &query).await?;
        Ok(Response::new(pb::GetChatResponse {
            chat: Some(convert::chat(&view)),
        }))
    }

    async fn list_chats(
        &self,
        request: Request<pb::ListChatsRequest>,
    ) -> Result<Response<pb::ListChatsResponse>, Status> {
        let call = self.edge.enter(request).await?;
        let query = call.query(|v, r| {
            let org_id = field::id(v, "org_id", &r.org_id);
            let page = PageRequest::decode(v, r.page_size, &r.page_token, r.org_id.clone());
            Some(ListChats {
                org_id: org_id?,
                page: page?,
            })
        })?;
        let page = self.edge.query(&call, &query).await?;
        Ok(Response::new(pb::ListChatsResponse {
            chats: page.items.iter().map(convert::chat).collect(),
            next_page_token: page.next_page_token,
        }))
    }

    async fn list_unsupervised_chats(
        &self,
        request: Request<pb::ListUnsupervisedChatsRequest>,
    ) -> Result<Response<pb::ListUnsupervisedChatsResponse>, Status> {
        let call = self.edge.enter(request).await?;
        let query = call.query(|v, r| {
            let org_id = field::id(v, "org_id", &r.org_id);
            let page = PageRequest::decode(v, r.page_size, &r.page_token, r.org_id.clone());
            Some(ListUnsupervisedChats {
                org_id: org_id?,
                page: page?,
            })
        })?;
        let page = self.edge.query(&call, &query).await?;
        Ok(Response::new(pb::ListUnsupervisedChatsResponse {
            chats: page.items.iter().map(convert::unsupervised).collect(),
            next_page_token: page.next_page_token,
        }))
    }

    async fn add_participants(
        &self,
        request: Request<pb::AddParticipantsRequest>,
    ) -> Result<Response<pb::AddParticipantsResponse>, Status> {
        let call = self.edge.enter(request).await?;
        let command = call.mutation(|v, r| {
            let org_id = field::id(v, "org_id", &r.org_id);
            let chat_id = field::id(v, "chat_id", &r.chat_id);
            let member_ids = convert::members(v, &r.member_ids);
            Some(ChangeChat {
                org_id: org_id?,
                chat_id: chat_id?,
                change: AddParticipants { member_ids },
            })
        })?;
        let done = self.edge.mutate(&call, &command).await?;
        Ok(Response::new(pb::AddParticipantsResponse {
            chat: done.view.as_ref().map(convert::chat),
            consistency_token: done.consistency_token,
        }))
    }

    async fn remove_participants(
        &self,
        request: Request<pb::RemoveParticipantsRequest>,
    ) -> Result<Response<pb::RemoveParticipantsResponse>, Status> {
        let call = self.edge.enter(request).await?;
        let command = call.mutation(|v, r| {
            let org_id = field::id(v, "org_id", &r.org_id);
            let chat_id = field::id(v, "chat_id", &r.chat_id);
            let member_ids = convert::members(v, &r.member_ids);
            Some(ChangeChat {
                org_id: org_id?,
                chat_id: chat_id?,
                change: RemoveParticipants { member_ids },
            })
        })?;
        let done = self.edge.mutate(&call, &command).await?;
        Ok(Response::new(pb::RemoveParticipantsResponse {
            chat: done.view.as_ref().map(convert::chat),
            consistency_token: done.consistency_token,
        }))
    }

    async fn transfer_responsibility(
        &self,
        request: Request<pb::TransferResponsibilityRequest>,
    ) -> Result<Response<pb::TransferResponsibilityResponse>, Status> {
        let call = self.edge.enter(request).await?;
        let command = call.mutation(|v, r| {
            let org_id = field::id(v, "org_id", &r.org_id);
            let chat_id = field::id(v, "chat_id", &r.chat_id);
            let responsible_id = field::id(v, "responsible_id", &r.responsible_id);
            let deputy_id = field::optional_id(v, "deputy_id", &r.deputy_id);
            let is_other = deputy_id.is_none() || deputy_id != responsible_id;
            v.check(
                is_other,
                "deputy_id",
                "must be another member than responsible_id",
            );
            Some(ChangeChat {
                org_id: org_id?,
                chat_id: chat_id?,
                change: TransferResponsibility {
                    responsible_id: responsible_id?,
                    deputy_id,
                },
            })
        })?;
        let done = self.edge.mutate(&call, &command).await?;
        Ok(Response::new(pb::TransferResponsibilityResponse {
            chat: done.view.as_ref().map(convert::chat),
            consistency_token: done.consistency_token,
        }))
    }

    async fn list_participants(
        &self,
        request: Request<pb::ListParticipantsRequest>,
    ) -> Result<Response<pb::ListParticipantsResponse>, Status> {
        let call = self.edge.enter(request).await?;
        let query = call.query(|v, r| {
            let org_id = field::id(v, "org_id", &r.org_id);
            let chat_id = field::id(v, "chat_id", &r.chat_id);
            let page = PageRequest::decode(v, r.page_size, &r.page_token, r.chat_id.clone());
            Some(ListParticipants {
                org_id: org_id?,
                chat_id: chat_id?,
                page: page?,
            })
        })?;
        let page = self.edge.query(&call, &query).await?;
        Ok(Response::new(pb::ListParticipantsResponse {
            participants: page.items.iter().map(convert::participant).collect(),
            next_page_token: page.next_page_token,
        }))
    }
}
