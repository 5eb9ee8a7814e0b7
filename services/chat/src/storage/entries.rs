use chrono::{DateTime, Utc};
use parta_access::OrgScope;
use parta_ids::{ChatId, EntryId, MemberId, OrgId, TypedId};
use parta_storage::StorageError;
use sea_orm::{
    ColumnTrait, ConnectionTrait, EntityTrait, FromQueryResult, QueryFilter, QueryOrder, QuerySelect,
    QueryTrait, Set, sea_query::SelectStatement,
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

fn from_model(model: entry::Model) -> Result<EntryRow, StorageError> {
    let member = |id: Option<Uuid>| {
        id.map(MemberId::from_uuid)
            .ok_or_else(|| StorageError::Fault(format!("entry {} names nobody", model.entry_id)))
    };
    let kind = match model.kind {
        MESSAGE => Kind::Message {
            sender: member(model.sender)?,
            text: model.body.unwrap_or_default(),
            service: model.service,
        },
        JOINING => Kind::Joining(member(model.subject)?),
        LEAVING => Kind::Leaving(member(model.subject)?),
        other => {
            return Err(StorageError::Fault(format!(
                "entry {} is of unknown kind {other}",
                model.entry_id
            )));
        }
    };
    Ok(EntryRow {
        org_id: OrgId::from_uuid(model.org_id),
        chat_id: ChatId::from_uuid(model.chat_id),
        seq: model.seq,
        entry_id: EntryId::from_uuid(model.entry_id),
        create_time: model.create_time,
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
        let rows = entry::Model::find_by_statement(conn.get_database_backend().build(&query))
            .all(conn)
            .await?;
        for row in rows {
            found.push(from_model(row)?);
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
        let row = entry::Model::find_by_statement(conn.get_database_backend().build(&query))
            .one(conn)
            .await?;
        if let Some(row) = row {
            return from_model(row).map(Some);
        }
    }
    Ok(None)
}
