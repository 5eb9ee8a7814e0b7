//! The numbers of unread messages of one member.
use std::collections::HashMap;

use parta_access::OrgScope;
use parta_database::StorageError;
use parta_ids::{ChatId, TypedId};
use sea_orm::ConnectionTrait;
use uuid::Uuid;

use super::{ChatMembership, heads::look_up, log::MESSAGE};

/// At most this many unread messages of one chat are counted.
pub(crate) const UNREAD_MAX: i64 = 100;

/// At most this many entries after the read mark are read for it, so that a list of chats reads a limited
/// number of entries, also if most of them are not messages of others.
const SCANNED_MAX: i64 = 1_000;

/// Counts the messages of others after the read mark of the member, in each of these chats of one member. A
/// chat without unread messages may be missing. Messages in the archive are not counted. Reads nothing if
/// every chat was read up to its head.
pub(crate) async fn count_unread(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    memberships: impl IntoIterator<Item = &ChatMembership>,
) -> Result<HashMap<ChatId, i64>, StorageError> {
    let count_unread = format!(
        "SELECT w.chat_id, (SELECT COUNT(*) FROM (SELECT 1 FROM (SELECT e.kind, e.sender FROM entry e \
           WHERE e.org_id = w.org_id AND e.chat_id = w.chat_id AND e.seq > w.read_seq ORDER BY e.seq \
           LIMIT {SCANNED_MAX}) later WHERE later.kind = {MESSAGE} AND later.sender <> w.member_id \
           LIMIT {UNREAD_MAX}) unread) FROM wanted w"
    );
    let may_have = |membership: &&ChatMembership| {
        let (chat, participant) = (&membership.chat, &membership.participant);
        participant.left_seq.is_none() && participant.read_seq < chat.head_seq
    };
    let wanted = memberships.into_iter().filter(may_have).map(|membership| {
        let participant = &membership.participant;
        [
            scope.org_id().uuid().into(),
            participant.chat_id.into(),
            participant.member_id.into(),
            participant.read_seq.into(),
        ]
    });
    let wanted: Vec<_> = wanted.collect();
    if wanted.is_empty() {
        return Ok(HashMap::new());
    }
    let columns = "org_id, chat_id, member_id, read_seq";
    let rows = look_up(conn, columns, wanted, &count_unread).await?;
    let count = |row: &sea_orm::QueryResult| {
        let chat: Uuid = row.try_get_by_index(0)?;
        Ok((ChatId::from_uuid(chat), row.try_get_by_index(1)?))
    };
    rows.iter().map(count).collect()
}
