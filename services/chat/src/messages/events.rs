//! Entries as responses and live streams carry them.
use parta_proto::timestamp;
use parta_proto_chat::v1::{self as pb, entry::Content as Wire};

use crate::entries::{Content, Entry, Reader};

/// The entry as the reader sees it; without a reader, as everybody does, who sees nobody join or leave.
pub(crate) fn entry_to_proto(entry: Entry, reader: Option<&Reader>) -> pb::Entry {
    let sees = |who, shown_to| reader.is_some_and(|reader| reader.sees(who, shown_to));
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
        Content::Joining(member, shown_to) if sees(member, shown_to) => Wire::Joining(pb::Joining {
            member_id: member.to_string(),
        }),
        Content::Leaving(member, shown_to) if sees(member, shown_to) => Wire::Leaving(pb::Leaving {
            member_id: member.to_string(),
        }),
        Content::Joining(..) | Content::Leaving(..) => Wire::Hidden(pb::Hidden {}),
    };
    let is_hidden = matches!(content, Wire::Hidden(_));
    pb::Entry {
        id: entry.entry_id.to_string(),
        chat_id: entry.chat_id.to_string(),
        seq: entry.seq,
        create_time: (!is_hidden).then(|| timestamp(entry.create_time)),
        content: Some(content),
    }
}
