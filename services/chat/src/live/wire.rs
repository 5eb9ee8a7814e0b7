//! What replicas tell each other over the bus.
use std::sync::Arc;

use parta_ids::{OrgId, TypedId};
use parta_proto::parta::chat::v1::{self as pb, entry::Content};
use uuid::Uuid;

use super::{LiveEntry, LiveKind};

/// Entries of one replica, or none to say how many there have been.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Frame {
    /// Who sends.
    #[prost(bytes = "vec", tag = "1")]
    pub(super) replica: Vec<u8>,
    /// How many entries the replica has published up to the end of this frame.
    #[prost(uint64, tag = "2")]
    pub(super) count: u64,
    /// In the order of their commits.
    #[prost(message, repeated, tag = "3")]
    pub(super) items: Vec<Item>,
}

/// An entry and where it belongs.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Item {
    #[prost(bytes = "vec", tag = "1")]
    org_id: Vec<u8>,
    #[prost(message, optional, tag = "2")]
    entry: Option<pb::Entry>,
}

impl From<&LiveEntry> for Item {
    fn from(live: &LiveEntry) -> Self {
        Self {
            org_id: live.org_id.uuid().as_bytes().to_vec(),
            entry: Some(live.entry.clone()),
        }
    }
}

impl Item {
    /// The entry; none where a replica of another release sends what this one does not understand.
    pub(super) fn into_live(self) -> Option<Arc<LiveEntry>> {
        let org_id = OrgId::from_uuid(Uuid::from_slice(&self.org_id).ok()?);
        let entry = self.entry?;
        let kind = match entry.content.as_ref()? {
            Content::Message(_) => LiveKind::Message,
            Content::Joining(joining) => LiveKind::Joining(joining.member_id.parse().ok()?),
            Content::Leaving(leaving) => LiveKind::Leaving(leaving.member_id.parse().ok()?),
        };
        let chat_id = entry.chat_id.parse().ok()?;
        Some(Arc::new(LiveEntry {
            org_id,
            chat_id,
            seq: entry.seq,
            kind,
            entry,
        }))
    }
}
