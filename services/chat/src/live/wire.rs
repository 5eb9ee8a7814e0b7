//! The frames that replicas publish on the bus.
use std::sync::Arc;

use bytes::Bytes;
use parta_ids::{ChatId, MemberId, OrgId, TypedId};
use parta_proto_chat::v1::{SubscribeChatsResponse, subscribe_chats_response};
use prost::Message as _;
use uuid::Uuid;

use super::{LiveEntry, LiveKind, Response};

/// Encodes a response of a live stream.
pub(super) fn response(item: subscribe_chats_response::Item) -> Bytes {
    SubscribeChatsResponse { item: Some(item) }.encode_to_vec().into()
}

/// Entries of one replica, or only its counter.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Frame {
    /// The id of the sending replica.
    #[prost(bytes = "vec", tag = "1")]
    pub(super) replica: Vec<u8>,
    /// The number of entries that the replica has published up to the end of this frame.
    #[prost(uint64, tag = "2")]
    pub(super) count: u64,
    /// In the order of their commits.
    #[prost(message, repeated, tag = "3")]
    pub(super) items: Vec<Item>,
    /// The ids of organizations whose chats the other replicas shall compare with the database.
    #[prost(bytes = "vec", repeated, tag = "4")]
    pub(super) compare: Vec<Vec<u8>>,
}

/// An entry with its encoded response and the fields that decide which streams get it.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Item {
    #[prost(bytes = "bytes", tag = "1")]
    org_id: Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    chat_id: Bytes,
    #[prost(int64, tag = "3")]
    seq: i64,
    /// The member who joins; empty for other entries.
    #[prost(bytes = "bytes", tag = "4")]
    joins: Bytes,
    /// The member who leaves; empty for other entries.
    #[prost(bytes = "bytes", tag = "5")]
    leaves: Bytes,
    #[prost(bytes = "bytes", tag = "6")]
    response: Bytes,
    /// Whether some readers see more than the response shows.
    #[prost(bool, tag = "8")]
    is_partial: bool,
    /// The id of the entry; empty from a replica of a release that does not send it.
    #[prost(bytes = "bytes", tag = "7")]
    entry_id: Bytes,
}

fn bytes(id: impl TypedId) -> Bytes {
    Bytes::copy_from_slice(id.uuid().as_bytes())
}

fn id<T: TypedId>(bytes: &Bytes) -> Option<T> {
    Uuid::from_slice(bytes).ok().map(T::from_uuid)
}

impl From<&LiveEntry> for Item {
    fn from(live: &LiveEntry) -> Self {
        let (joins, leaves) = match live.kind {
            LiveKind::Message | LiveKind::Head | LiveKind::Restored | LiveKind::Chats => (None, None),
            LiveKind::Joining(member) => (Some(member), None),
            LiveKind::Leaving(member) => (None, Some(member)),
        };
        let member_bytes = |member: Option<MemberId>| member.map(bytes).unwrap_or_default();
        Self {
            org_id: bytes(live.org_id),
            chat_id: bytes(live.chat_id),
            seq: live.seq,
            joins: member_bytes(joins),
            leaves: member_bytes(leaves),
            response: live.response.bytes(),
            is_partial: live.is_partial,
            entry_id: live.entry_id.map(bytes).unwrap_or_default(),
        }
    }
}

impl Item {
    /// Returns the entry; `None` if a replica of another release sends an entry that this one does not know.
    pub(super) fn into_live(self) -> Option<Arc<LiveEntry>> {
        let kind = match (self.joins.is_empty(), self.leaves.is_empty()) {
            (true, true) => LiveKind::Message,
            (false, true) => LiveKind::Joining(id(&self.joins)?),
            (true, false) => LiveKind::Leaving(id(&self.leaves)?),
            (false, false) => return None,
        };
        let org_id: OrgId = id(&self.org_id)?;
        let chat_id: ChatId = id(&self.chat_id)?;
        Some(Arc::new(LiveEntry {
            org_id,
            chat_id,
            seq: self.seq,
            entry_id: id(&self.entry_id),
            kind,
            is_partial: self.is_partial,
            response: Response::encoded(self.response),
        }))
    }
}
