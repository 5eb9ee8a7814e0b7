//! MessageService and AnnouncementService: decode, call, encode.
use parta_edge::{Edge, PageRequest};
use parta_ids::{ChatId, TypedId, UnitId};
use parta_mutations::{REQUEST_ID, REQUEST_ID_RULE, request_uuid};
use parta_proto::timestamp;
use parta_proto_chat::{
    internal::v1::{self as internal, announcement_service_server::AnnouncementService},
    v1::{self as pb, message_service_server::MessageService as MessageServer},
};
use parta_proto_membership::internal::v1::MemberName;
use parta_status::{FieldViolations, field};
use tonic::{Request, Response, Status};

use super::{
    entry_to_proto,
    model::{Audience, Message, TEXT_MAX},
    names,
    operations::{ListAuthors, ListEntries, MarkRead, MessageService},
    writer::Stored,
};
use crate::context::Context;

/// At most this many entries whose authors one call returns.
const AUTHORS_MAX_ENTRIES: usize = 100;

/// The server of MessageService.
#[derive(Clone)]
pub(crate) struct Messages {
    edge: Edge<Context>,
    service: MessageService,
}

impl Messages {
    pub(crate) fn new(edge: Edge<Context>, service: MessageService) -> Self {
        Self { edge, service }
    }
}

/// Decodes a message. Its `request_id` is stored with the entry and not in an idempotency record.
fn message<To: TypedId>(
    v: &mut FieldViolations,
    (request_id, org_id, text): (&str, &str, &str),
    (name, to): (&'static str, &str),
) -> Option<Message<To>> {
    let request_id = request_uuid(request_id);
    v.check(request_id.is_some(), REQUEST_ID, REQUEST_ID_RULE);
    let org_id = field::id(v, "org_id", org_id);
    let to = field::id(v, name, to);
    let text = field::text(v, "text", text, 1..=TEXT_MAX, true);
    Some(Message {
        org_id: org_id?,
        to: to?,
        request_id: request_id?,
        text,
    })
}

#[tonic::async_trait]
impl MessageServer for Messages {
    async fn send_message(
        &self,
        request: Request<pb::SendMessageRequest>,
    ) -> Result<Response<pb::SendMessageResponse>, Status> {
        let call = self.edge.enter(request).await?;
        let message =
            call.query(|v, r| message(v, (&r.request_id, &r.org_id, &r.text), ("chat_id", &r.chat_id)))?;
        let stored = self.service.send(call.caller(), message).await?;
        Ok(Response::new(pb::SendMessageResponse {
            entry_id: stored.entry_id.to_string(),
            seq: stored.seq,
            create_time: Some(timestamp(stored.create_time)),
            consistency_token: String::new(),
        }))
    }

    async fn list_entries(
        &self,
        request: Request<pb::ListEntriesRequest>,
    ) -> Result<Response<pb::ListEntriesResponse>, Status> {
        let call = self.edge.enter(request).await?;
        let query = call.query(|v, r| {
            let org_id = field::id(v, "org_id", &r.org_id);
            let chat_id = field::id(v, "chat_id", &r.chat_id);
            let positive = r.after_seq.is_none_or(|seq| seq >= 0);
            v.check(positive, "after_seq", "must not be negative");
            let filter = format!("{} {:?}", r.chat_id, r.after_seq);
            let page = PageRequest::decode(v, r.page_size, &r.page_token, filter);
            Some(ListEntries {
                org_id: org_id?,
                chat_id: chat_id?,
                after_seq: r.after_seq,
                page: page?,
            })
        })?;
        let (page, reader) = self.service.list_entries(call.caller(), &query).await?;
        let entries = page.items.into_iter();
        Ok(Response::new(pb::ListEntriesResponse {
            entries: entries
                .map(|entry| entry_to_proto(entry, Some(&reader)))
                .collect(),
            next_page_token: page.next_page_token,
        }))
    }

    async fn batch_get_authors(
        &self,
        request: Request<pb::BatchGetAuthorsRequest>,
    ) -> Result<Response<pb::BatchGetAuthorsResponse>, Status> {
        let call = self.edge.enter(request).await?;
        let query = call.query(|v, r| {
            let org_id = field::id(v, "org_id", &r.org_id);
            let chat_id = field::id(v, "chat_id", &r.chat_id);
            v.check(
                (1..=AUTHORS_MAX_ENTRIES).contains(&r.seqs.len()),
                "seqs",
                format!("must have 1 to {AUTHORS_MAX_ENTRIES} numbers"),
            );
            v.check(r.seqs.iter().all(|seq| *seq > 0), "seqs", "must be positive");
            Some(ListAuthors {
                org_id: org_id?,
                chat_id: chat_id?,
                seqs: r.seqs.iter().copied().collect(),
            })
        })?;
        let authors = self.edge.query(&call, &query).await?;
        let named = names::of(&self.service.membership(), call.caller(), query.org_id, &authors).await?;
        let author = |member: MemberName| pb::Author {
            member_id: member.member_id,
            full_name: member.full_name,
            roles: member.roles,
            teacher_verified: member.teacher_verified,
        };
        Ok(Response::new(pb::BatchGetAuthorsResponse {
            authors: named.into_iter().map(author).collect(),
        }))
    }

    async fn mark_read(
        &self,
        request: Request<pb::MarkReadRequest>,
    ) -> Result<Response<pb::MarkReadResponse>, Status> {
        let call = self.edge.enter(request).await?;
        let mark = call.query(|v, r| {
            let org_id = field::id(v, "org_id", &r.org_id);
            let chat_id = field::id(v, "chat_id", &r.chat_id);
            v.check(r.seq >= 0, "seq", "must not be negative");
            Some(MarkRead {
                org_id: org_id?,
                chat_id: chat_id?,
                seq: r.seq,
            })
        })?;
        let moved = self.service.mark_read(call.caller(), &mark).await?;
        Ok(Response::new(pb::MarkReadResponse {
            read_seq: moved.read_seq,
            unread_count: moved.unread_count,
        }))
    }
}

/// The server of AnnouncementService.
#[derive(Clone)]
pub(crate) struct Announcements {
    edge: Edge<Context>,
    service: MessageService,
}

impl Announcements {
    pub(crate) fn new(edge: Edge<Context>, service: MessageService) -> Self {
        Self { edge, service }
    }
}

#[tonic::async_trait]
impl AnnouncementService for Announcements {
    async fn post_announcement(
        &self,
        request: Request<internal::PostAnnouncementRequest>,
    ) -> Result<Response<internal::PostAnnouncementResponse>, Status> {
        let call = self.edge.enter(request).await?;
        let announcement = call.query(|v, r| {
            let text = (&*r.request_id, &*r.org_id, &*r.text);
            let message: Message<UnitId> = message(v, text, ("unit_id", &r.unit_id))?;
            let audience = Audience {
                unit_id: message.to,
                pupils: r.pupils,
                parents: r.parents,
            };
            Some(message.to(audience))
        })?;
        let posted = self.service.announce(call.caller(), announcement).await?;
        let entry = |(chat, stored): (ChatId, Stored)| internal::AnnouncementEntry {
            chat_id: chat.to_string(),
            seq: stored.seq,
        };
        Ok(Response::new(internal::PostAnnouncementResponse {
            entries: posted.into_iter().map(entry).collect(),
            consistency_token: String::new(),
        }))
    }
}
