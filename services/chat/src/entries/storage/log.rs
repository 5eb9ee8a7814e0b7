use chrono::{DateTime, Utc};
use parta_access::OrgScope;
use parta_ids::{ChatId, EntryId, MemberId, OrgId, TypedId};
use parta_storage::StorageError;
use sea_orm::{
    ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder, QueryResult, QuerySelect, QueryTrait,
    Set, sea_query::SelectStatement,
};
use uuid::Uuid;

use super::{chat, entry};

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Somebody wrote.
    Message {
        sender: MemberId,
        text: String,
        service: Option<String>,
    },
    /// Somebody came in.
    Joining(MemberId),
    /// Somebody left.
    Leaving(MemberId),
}

/// One line of a chat's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EntryRow {
    pub(crate) org_id: OrgId,
    pub(crate) chat_id: ChatId,
    pub(crate) seq: i64,
    pub(crate) entry_id: EntryId,
    pub(crate) create_time: DateTime<Utc>,
    pub(crate) kind: Kind,
}

pub(crate) const MESSAGE: i16 = 1;
const JOINING: i16 = 2;
const LEAVING: i16 = 3;

/// What is read of an entry, in this order: by its place a column is found at once, by its name it is searched for.
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

fn from_row((scope, chat_id): (&OrgScope, ChatId), row: &QueryResult) -> Result<EntryRow, StorageError> {
    let entry_id: Uuid = row.try_get_by_index(1)?;
    let member = |column| {
        row.try_get_by_index::<Option<Uuid>>(column)?
            .map(MemberId::from_uuid)
            .ok_or_else(|| StorageError::Fault(format!("entry {entry_id} names nobody")))
    };
    let kind = match row.try_get_by_index::<i16>(2)? {
        MESSAGE => Kind::Message {
            sender: member(4)?,
            text: row.try_get_by_index::<Option<String>>(5)?.unwrap_or_default(),
            service: row.try_get_by_index(6)?,
        },
        JOINING => Kind::Joining(member(7)?),
        LEAVING => Kind::Leaving(member(7)?),
        other => {
            let why = format!("entry {entry_id} is of unknown kind {other}");
            return Err(StorageError::Fault(why));
        }
    };
    Ok(EntryRow {
        org_id: scope.org_id(),
        chat_id,
        seq: row.try_get_by_index(0)?,
        entry_id: EntryId::from_uuid(entry_id),
        create_time: row.try_get_by_index(3)?,
        kind,
    })
}

/// The row of an entry that the service notes by itself; messages are written by the writer.
pub(crate) fn to_row(entry: &EntryRow) -> entry::ActiveModel {
    let (kind, sender, body, subject, service) = match &entry.kind {
        Kind::Message {
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
        Kind::Joining(member) => (JOINING, None, None, Some(member.uuid()), None),
        Kind::Leaving(member) => (LEAVING, None, None, Some(member.uuid()), None),
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

/// Where entries lie: in the log that is written to, or, when they are old, in the archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Log,
    Archive,
}

/// The entries of one place, by its key.
pub(crate) fn entries_query(
    place: Place,
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
    if place == Place::Archive {
        query.from_clear().from_as("entry_archive", entry::Entity);
    }
    query
}

/// Entries of a chat between two places, `after` and `upto` where the first is left out, in either direction. `chat` has
/// to be of the same moment: what was archived since would be looked for where it no longer lies.
pub(crate) async fn list_log(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    chat: &chat::Model,
    (after, upto): (i64, i64),
    newest_first: bool,
    limit: u64,
) -> Result<Vec<EntryRow>, StorageError> {
    let border = chat.archived_seq;
    let mut parts = [
        (Place::Archive, (after, upto.min(border))),
        (Place::Log, (after.max(border), upto)),
    ];
    if newest_first {
        parts.reverse();
    }
    let at = (scope, ChatId::from_uuid(chat.chat_id));
    let mut found = Vec::new();
    for (place, range) in parts {
        let wanted = limit.saturating_sub(found.len() as u64);
        if range.0 >= range.1 || wanted == 0 {
            continue;
        }
        let query = entries_query(place, at, range, newest_first, wanted);
        let statement = conn.get_database_backend().build(&query);
        for row in conn.query_all_raw(statement).await? {
            found.push(from_row(at, &row)?);
        }
    }
    Ok(found)
}

/// The first entry between two places, `after` and `upto` where the first is left out, by which this member came or went.
pub(crate) async fn find_own_move(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    chat: &chat::Model,
    member: MemberId,
    (after, upto): (i64, i64),
) -> Result<Option<EntryRow>, StorageError> {
    let border = chat.archived_seq;
    let at = (scope, ChatId::from_uuid(chat.chat_id));
    for (place, range) in [
        (Place::Archive, (after, upto.min(border))),
        (Place::Log, (after.max(border), upto)),
    ] {
        if range.0 >= range.1 {
            continue;
        }
        let mut query = entries_query(place, at, range, false, 1);
        query.and_where(entry::Column::Kind.is_in([JOINING, LEAVING]));
        query.and_where(entry::Column::Subject.eq(member.uuid()));
        let statement = conn.get_database_backend().build(&query);
        if let Some(row) = conn.query_one_raw(statement).await? {
            return from_row(at, &row).map(Some);
        }
    }
    Ok(None)
}
