//! Positions in the logs of chats.
use std::collections::HashMap;

use chrono::{DateTime, Utc};
use parta_access::OrgScope;
use parta_ids::{ChatId, EntryId, MemberId};
use sea_orm::ConnectionTrait;

use crate::{
    entries::{self, ChatMembership},
    error::Error,
};

/// The position up to which a client has read a chat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cursor {
    pub(crate) seq: i64,
    /// The entry at the position, by which a restored log is recognized.
    pub(crate) entry_id: Option<EntryId>,
}

/// The position of a stream in a chat.
pub(super) struct StoredPosition {
    pub(super) chat: ChatId,
    pub(super) seq: i64,
    /// The last sequence number of the chat.
    pub(super) head: i64,
    /// The sequence number of the leaving of the member.
    pub(super) left: Option<i64>,
}

/// The range of sequence numbers that the member may read: after the first and up to the second. In a derived
/// chat that the member has left, it is only the entry of the leaving.
pub(super) fn readable_range(membership: &ChatMembership, cursor: i64) -> Result<(i64, i64), Error> {
    Ok(
        match (membership.readable_upto()?, membership.participant.left_seq) {
            (Some(upto), _) => (cursor, upto),
            (None, Some(left)) => (cursor.max(left - 1), left),
            (None, None) => (cursor, cursor),
        },
    )
}

/// Moves the positions of a session that reads personal and named chats only since a time (F11) to the last
/// entry before it. A chat without a position begins at its present head.
pub(super) async fn readable_cursors(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    member: MemberId,
    mut cursors: HashMap<ChatId, Cursor>,
    since: DateTime<Utc>,
) -> Result<HashMap<ChatId, Cursor>, Error> {
    let wanted: Vec<_> = cursors.keys().copied().collect();
    for membership in entries::list_memberships(conn, scope, member, &wanted).await? {
        let Some(cursor) = cursors.get_mut(&membership.chat_id()) else {
            continue;
        };
        let hidden = entries::hidden_upto(conn, scope, &membership, Some(since)).await?;
        if cursor.seq < hidden {
            *cursor = Cursor {
                seq: hidden,
                entry_id: None,
            };
        }
    }
    Ok(cursors)
}
