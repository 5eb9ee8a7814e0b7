//! Entries as responses and live streams carry them.
use parta_proto::timestamp;
use parta_proto_chat::v1::{self as pb, entry::Content as Wire};

use crate::entries::{Content, Entry};

pub(crate) fn entry_to_proto(entry: Entry) -> pb::Entry {
    let content = match entry.content {
        Content::Message {
            sender,
            text,
            service,
        } => Wire::Message(pb::Message {
            sender_id: sender.to_string(),
            text,
            service: service.unwrap_or_default(),
        }),
        Content::Joining(member) => Wire::Joining(pb::Joining {
            member_id: member.to_string(),
        }),
        Content::Leaving(member) => Wire::Leaving(pb::Leaving {
            member_id: member.to_string(),
        }),
    };
    pb::Entry {
        id: entry.entry_id.to_string(),
        chat_id: entry.chat_id.to_string(),
        seq: entry.seq,
        create_time: Some(timestamp(entry.create_time)),
        content: Some(content),
    }
}
