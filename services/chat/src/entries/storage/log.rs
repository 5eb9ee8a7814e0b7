use chrono::{DateTime, Utc};
use parta_access::OrgScope;
use parta_database::StorageError;
use parta_ids::{ChatId, EntryId, MemberId, TypedId};
use sea_orm::{
    ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder, QueryResult, QuerySelect, QueryTrait,
    Set, sea_query::SelectStatement,
};
use uuid::Uuid;

use super::{ChatMembership, entry, padded};
use crate::entries::{Content, Entry, ShownTo};

/// The stored number of a message.
pub(crate) const MESSAGE: i16 = 1;
/// The stored numbers of joinings and leavings, by those who see them.
const JOININGS: [(i16, ShownTo); 3] = [(2, ShownTo::Everybody), (3, ShownTo::Staff), (4, ShownTo::Nobody)];
const LEAVINGS: [(i16, ShownTo); 3] = [(5, ShownTo::Everybody), (6, ShownTo::Staff), (7, ShownTo::Nobody)];

fn shown_to(numbers: [(i16, ShownTo); 3], number: i16) -> Option<ShownTo> {
    let found = numbers.into_iter().find(|(known, _)| *known == number);
    found.map(|(_, shown_to)| shown_to)
}

fn number_of(numbers: [(i16, ShownTo); 3], wanted: ShownTo) -> i16 {
    let [(everybody, _), (staff, _), (nobody, _)] = numbers;
    match wanted {
        ShownTo::Everybody => everybody,
        ShownTo::Staff => staff,
        ShownTo::Nobody => nobody,
    }
}

/// The columns that are read of an entry, in this order: access by index is faster than by name.
const COLUMNS: [entry::Column; 8] = [
    entry::Column::Seq,
    entry::Column::EntryId,
    entry::Column::Kind,
    entry::Column::CreateTime,
    entry::Column::Sender,
    entry::Column::Body,
    entry::Column::Service,
    entry::Column::Subject,
];

fn from_row((scope, chat_id): (&OrgScope, ChatId), row: &QueryResult) -> Result<Entry, StorageError> {
    let entry_id: Uuid = row.try_get_by_index(1)?;
    let member = |column| {
        row.try_get_by_index::<Option<Uuid>>(column)?
            .map(MemberId::from_uuid)
            .ok_or_else(|| StorageError::Fault(format!("entry {entry_id} has no member")))
    };
    let content = match row.try_get_by_index::<i16>(2)? {
        MESSAGE => Content::Message {
            sender: member(4)?,
            text: row.try_get_by_index::<Option<String>>(5)?.unwrap_or_default(),
            service: row.try_get_by_index(6)?,
        },
        other => {
            if let Some(shown_to) = shown_to(JOININGS, other) {
                Content::Joining(member(7)?, shown_to)
            } else if let Some(shown_to) = shown_to(LEAVINGS, other) {
                Content::Leaving(member(7)?, shown_to)
            } else {
                return Err(StorageError::unknown_value("entry.kind", other));
            }
        }
    };
    Ok(Entry {
        org_id: scope.org_id(),
        chat_id,
        seq: row.try_get_by_index(0)?,
        entry_id: EntryId::from_uuid(entry_id),
        create_time: row.try_get_by_index(3)?,
        content,
    })
}

/// The row of a joining or a leaving. Messages are inserted by the message writer.
pub(super) fn to_row(entry: &Entry) -> entry::ActiveModel {
    let (kind, sender, body, subject, service) = match &entry.content {
        Content::Message {
            sender,
            text,
            service,
        } => (
            MESSAGE,
            Some(sender.uuid()),
            Some(text.clone()),
            None,
            service.clone(),
        ),
        Content::Joining(member, shown_to) => {
            let kind = number_of(JOININGS, *shown_to);
            (kind, None, None, Some(member.uuid()), None)
        }
        Content::Leaving(member, shown_to) => {
            let kind = number_of(LEAVINGS, *shown_to);
            (kind, None, None, Some(member.uuid()), None)
        }
    };
    entry::ActiveModel {
        org_id: Set(entry.org_id.uuid()),
        chat_id: Set(entry.chat_id.uuid()),
        seq: Set(entry.seq),
        entry_id: Set(entry.entry_id.uuid()),
        kind: Set(kind),
        sender: Set(sender),
        request_id: Set(None),
        digest: Set(None),
        body: Set(body),
        subject: Set(subject),
        service: Set(service),
        create_time: Set(entry.create_time),
    }
}

/// The table of an entry: the log, or the archive for old entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EntryTable {
    Log,
    Archive,
}

/// Selects entries of one table by the primary key.
pub(crate) fn entries_query(
    table: EntryTable,
    (scope, chat): (&OrgScope, ChatId),
    (after, upto): (i64, i64),
    newest_first: bool,
    limit: u64,
) -> SelectStatement {
    let query = entry::Entity::find()
        .select_only()
        .columns(COLUMNS)
        .filter(entry::Column::OrgId.eq(scope.org_id().uuid()))
        .filter(entry::Column::ChatId.eq(chat.uuid()))
        .filter(entry::Column::Seq.gt(after))
        .filter(entry::Column::Seq.lte(upto))
        .limit(limit);
    let query = if newest_first {
        query.order_by_desc(entry::Column::Seq)
    } else {
        query.order_by_asc(entry::Column::Seq)
    };
    let mut query = query.into_query();
    if table == EntryTable::Archive {
        query.from_clear().from_as("entry_archive", entry::Entity);
    }
    query
}

/// Lists the entries of a chat with sequence numbers above `after` and up to `upto`, in either direction.
/// `border` is the `archived_seq` of the chat, which must be read in the same snapshot: entries archived
/// since would be missing from the result.
pub(crate) async fn list_entries(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    (chat, border): (ChatId, i64),
    (after, upto): (i64, i64),
    newest_first: bool,
    limit: u64,
) -> Result<Vec<Entry>, StorageError> {
    let mut parts = [
        (EntryTable::Archive, (after, upto.min(border))),
        (EntryTable::Log, (after.max(border), upto)),
    ];
    if newest_first {
        parts.reverse();
    }
    let at = (scope, chat);
    let mut found = Vec::new();
    for (table, range) in parts {
        let wanted = limit.saturating_sub(found.len() as u64);
        if range.0 >= range.1 || wanted == 0 {
            continue;
        }
        let query = entries_query(table, at, range, newest_first, wanted);
        let statement = conn.get_database_backend().build(&query);
        for row in conn.query_all_raw(statement).await? {
            found.push(from_row(at, &row)?);
        }
    }
    Ok(found)
}

/// The entries with these sequence numbers, in any order. `border` is the `archived_seq` of the chat, which
/// must be read in the same snapshot.
pub(crate) async fn find_entries(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    (chat, border): (ChatId, i64),
    seqs: &[i64],
) -> Result<Vec<Entry>, StorageError> {
    let (archived, present): (Vec<i64>, Vec<i64>) = seqs.iter().partition(|seq| **seq <= border);
    let mut found = Vec::new();
    for (table, seqs) in [(EntryTable::Archive, archived), (EntryTable::Log, present)] {
        let (Some(first), Some(last)) = (seqs.iter().min(), seqs.iter().max()) else {
            continue;
        };
        let limit = seqs.len() as u64;
        let mut query = entries_query(table, (scope, chat), (first - 1, *last), false, limit);
        query.and_where(entry::Column::Seq.is_in(padded(seqs)));
        let statement = conn.get_database_backend().build(&query);
        for row in conn.query_all_raw(statement).await? {
            found.push(from_row((scope, chat), &row)?);
        }
    }
    Ok(found)
}

/// The first joining or leaving of this member with a sequence number above `after` and up to `upto`.
pub(crate) async fn find_own_move(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    (chat, border): (ChatId, i64),
    member: MemberId,
    (after, upto): (i64, i64),
) -> Result<Option<Entry>, StorageError> {
    let at = (scope, chat);
    for (table, range) in [
        (EntryTable::Archive, (after, upto.min(border))),
        (EntryTable::Log, (after.max(border), upto)),
    ] {
        if range.0 >= range.1 {
            continue;
        }
        let mut query = entries_query(table, at, range, false, 1);
        query.and_where(entry::Column::Kind.ne(MESSAGE));
        query.and_where(entry::Column::Subject.eq(member.uuid()));
        let statement = conn.get_database_backend().build(&query);
        if let Some(row) = conn.query_one_raw(statement).await? {
            return from_row(at, &row).map(Some);
        }
    }
    Ok(None)
}

/// The last sequence number that a session must not read which reads personal and named chats only since a
/// time (F11); 0 for any other session, and in a derived chat.
pub(crate) async fn hidden_upto(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    membership: &ChatMembership,
    reads_since: Option<DateTime<Utc>>,
) -> Result<i64, StorageError> {
    let Some(since) = reads_since else { return Ok(0) };
    if membership.kind()?.is_derived() {
        return Ok(0);
    }
    let ((chat, border), head) = (membership.log(), membership.chat.head_seq);
    for (table, range) in [
        (EntryTable::Log, (border, head)),
        (EntryTable::Archive, (0, border)),
    ] {
        let mut query = entries_query(table, (scope, chat), range, true, 1);
        query.and_where(entry::Column::CreateTime.lt(since));
        let statement = conn.get_database_backend().build(&query);
        if let Some(row) = conn.query_one_raw(statement).await? {
            return Ok(row.try_get_by_index(0)?);
        }
    }
    Ok(0)
}
