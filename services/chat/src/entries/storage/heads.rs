//! Lookups for live streams, each of many rows by one statement: the heads of chats, the number of
//! chats of members, and the ids of entries. If the log has another entry id at a sequence number
//! than the stream has, the database was restored from a backup.
use std::{collections::HashMap, fmt::Write as _};

use parta_access::OrgScope;
use parta_database::StorageError;
use parta_ids::{ChatId, EntryId, MemberId, OrgId, TypedId};
use sea_orm::{ConnectionTrait, QueryResult, Statement, Value};
use uuid::Uuid;

use super::padded;

/// The maximum number of rows that one statement looks up. A row has up to three values, and SQLite
/// binds at most 32,766.
pub(crate) const LOOKUP_MAX_ROWS: usize = 1_024;

/// The head of a chat, and the entry at one sequence number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head {
    /// The last sequence number of the chat.
    pub(crate) seq: i64,
    /// Entries up to this sequence number are in the table `entry_archive`, later ones in `entry`.
    pub(crate) archived_seq: i64,
    /// The entry at the requested sequence number; `None` if the table `entry` has none.
    pub(crate) entry_id: Option<EntryId>,
}

/// Runs `select`, which reads the rows of values as the table `wanted` with these columns. The last
/// row is repeated until the number of rows is a power of two, so that few different statements are
/// prepared. The select must not count the repetitions.
pub(super) async fn look_up<const N: usize>(
    conn: &impl ConnectionTrait,
    columns: &str,
    rows: impl IntoIterator<Item = [Value; N]>,
    select: &str,
) -> Result<Vec<QueryResult>, StorageError> {
    let rows = padded(rows.into_iter().collect());
    let mut sql = format!("WITH wanted({columns}) AS (VALUES ");
    for row in 0..rows.len() {
        let separator = if row == 0 { "(" } else { ", (" };
        sql.push_str(separator);
        for column in 0..N {
            let separator = if column == 0 { "$" } else { ", $" };
            write!(sql, "{separator}{}", row * N + column + 1)
                .map_err(|error| StorageError::Fault(error.to_string()))?;
        }
        sql.push(')');
    }
    sql.push_str(") ");
    sql.push_str(select);
    let values = rows.into_iter().flatten();
    let statement = Statement::from_sql_and_values(conn.get_database_backend(), sql, values);
    Ok(conn.query_all_raw(statement).await?)
}

/// Returns the heads of at most [`LOOKUP_MAX_ROWS`] chats, each with the id of the entry at the
/// sequence number that is given with the chat. The chats may belong to different organizations. A
/// chat that does not exist is missing in the result.
pub(crate) async fn find_heads(
    conn: &impl ConnectionTrait,
    chats: &[(OrgId, ChatId, i64)],
) -> Result<HashMap<(OrgId, ChatId), Head>, StorageError> {
    const FIND_HEADS: &str = "SELECT DISTINCT c.org_id, c.chat_id, c.head_seq, c.archived_seq, e.entry_id \
         FROM wanted w JOIN chat c ON c.org_id = w.org_id AND c.chat_id = w.chat_id \
         LEFT JOIN entry e ON e.org_id = c.org_id AND e.chat_id = c.chat_id AND e.seq = w.seq";
    let wanted = chats
        .iter()
        .map(|(org, chat, seq)| [org.uuid().into(), chat.uuid().into(), (*seq).into()]);
    let rows = look_up(conn, "org_id, chat_id, seq", wanted, FIND_HEADS).await?;
    let head = |row: &QueryResult| {
        let (org, chat): (Uuid, Uuid) = (row.try_get_by_index(0)?, row.try_get_by_index(1)?);
        let entry: Option<Uuid> = row.try_get_by_index(4)?;
        let head = Head {
            seq: row.try_get_by_index(2)?,
            archived_seq: row.try_get_by_index(3)?,
            entry_id: entry.map(EntryId::from_uuid),
        };
        Ok(((OrgId::from_uuid(org), ChatId::from_uuid(chat)), head))
    };
    rows.iter().map(head).collect()
}

/// Returns the number of chats in which each of at most [`LOOKUP_MAX_ROWS`] members participates. A
/// member of no chat is missing in the result.
pub(crate) async fn count_chats(
    conn: &impl ConnectionTrait,
    members: &[(OrgId, MemberId)],
) -> Result<HashMap<(OrgId, MemberId), usize>, StorageError> {
    const COUNT_CHATS: &str = "SELECT p.org_id, p.member_id, COUNT(*) FROM participant p \
         JOIN (SELECT DISTINCT org_id, member_id FROM wanted) w \
           ON p.org_id = w.org_id AND p.member_id = w.member_id \
         WHERE p.left_seq IS NULL GROUP BY p.org_id, p.member_id";
    let wanted = members
        .iter()
        .map(|(org, member)| [org.uuid().into(), member.uuid().into()]);
    let rows = look_up(conn, "org_id, member_id", wanted, COUNT_CHATS).await?;
    let count = |row: &QueryResult| {
        let (org, member): (Uuid, Uuid) = (row.try_get_by_index(0)?, row.try_get_by_index(1)?);
        let count: i64 = row.try_get_by_index(2)?;
        let key = (OrgId::from_uuid(org), MemberId::from_uuid(member));
        let count = usize::try_from(count).map_err(|_| StorageError::Fault("a negative count".to_owned()))?;
        Ok((key, count))
    };
    rows.iter().map(count).collect()
}

/// Returns the ids of any number of entries, each given by its chat and its sequence number.
/// Archived entries are found too. An entry that does not exist is missing in the result.
pub(crate) async fn find_entry_ids(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    seqs: &[(ChatId, i64)],
) -> Result<HashMap<(ChatId, i64), EntryId>, StorageError> {
    const FIND_ENTRIES: &str = "SELECT w.chat_id, w.seq, coalesce(e.entry_id, a.entry_id) FROM wanted w \
         LEFT JOIN entry e ON e.org_id = w.org_id AND e.chat_id = w.chat_id AND e.seq = w.seq \
         LEFT JOIN entry_archive a ON a.org_id = w.org_id AND a.chat_id = w.chat_id AND a.seq = w.seq";
    let mut found = HashMap::new();
    for page in seqs.chunks(LOOKUP_MAX_ROWS) {
        let wanted = page
            .iter()
            .map(|(chat, seq)| [scope.org_id().uuid().into(), chat.uuid().into(), (*seq).into()]);
        for row in look_up(conn, "org_id, chat_id, seq", wanted, FIND_ENTRIES).await? {
            let chat = ChatId::from_uuid(row.try_get_by_index(0)?);
            let entry: Option<Uuid> = row.try_get_by_index(2)?;
            if let Some(entry) = entry {
                found.insert((chat, row.try_get_by_index(1)?), EntryId::from_uuid(entry));
            }
        }
    }
    Ok(found)
}
