//! Stores a batch in one transaction with the write lock held, by prepared statements on the thread of the
//! SQLite writer.
use std::{
    collections::{BTreeMap, HashMap},
    sync::LazyLock,
};

use chrono::SecondsFormat;
use parta_database::{SqliteWriter, StorageError};
use parta_ids::{EntryId, TypedId};
use parta_roster::Roster;
use rusqlite::{CachedStatement, Error, OptionalExtension as _, Transaction, ffi, params, types::Type};
use uuid::Uuid;

use super::{Batch, Outcome, PendingMessage, Stored, Time};
use crate::{
    entries::MESSAGE,
    messages::policy::{SenderFacts, verdict},
};

const FIND_SENDER: &str = "SELECT p.left_seq IS NULL, p.may_post, c.archive_time IS NULL AND NOT c.unsupervised, c.head_seq \
     FROM participant p JOIN chat c ON c.org_id = p.org_id AND c.chat_id = p.chat_id \
     WHERE p.org_id = ?1 AND p.chat_id = ?2 AND p.member_id = ?3";
const FIND_REPEATED: &str = "SELECT digest, entry_id, seq, create_time FROM entry \
     WHERE org_id = ?1 AND chat_id = ?2 AND sender = ?3 AND request_id = ?4";
/// Read for senders who are refused.
static FIND_STATE: LazyLock<String> = LazyLock::new(|| Roster::state_sql("?1", "?2"));
const INSERT_ENTRY: &str = "INSERT INTO entry \
     (org_id, chat_id, seq, entry_id, kind, sender, request_id, digest, body, service, create_time) \
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)";
const UPDATE_HEAD: &str = "UPDATE chat SET head_seq = ?3 WHERE org_id = ?1 AND chat_id = ?2";

/// The organization and the chat.
type ChatKey = ([u8; 16], [u8; 16]);

fn bytes(id: impl TypedId) -> [u8; 16] {
    id.uuid().into_bytes()
}

pub(super) async fn store(
    writer: &SqliteWriter,
    batch: Batch,
    now: Time,
) -> Result<Vec<Outcome>, StorageError> {
    writer.write(move |tx| run(tx, batch.messages(), now)).await
}

fn run(tx: &Transaction<'_>, messages: &[PendingMessage], now: Time) -> Result<Vec<Outcome>, Error> {
    // The format of sqlx, so that both drivers can read the stored times.
    let time = now.to_rfc3339_opts(SecondsFormat::AutoSi, false);
    let mut find_sender = tx.prepare_cached(FIND_SENDER)?;
    let mut find_repeated = tx.prepare_cached(FIND_REPEATED)?;
    let mut insert = tx.prepare_cached(INSERT_ENTRY)?;
    // The head of each chat is read once, incremented here and written once at the end.
    let mut heads: HashMap<ChatKey, i64> = HashMap::new();
    let mut new_heads: BTreeMap<ChatKey, i64> = BTreeMap::new();
    let mut outcomes = Vec::with_capacity(messages.len());
    for pending in messages {
        let message = &pending.message;
        let (org, chat) = (bytes(message.org_id), bytes(message.to));
        let sender = bytes(pending.sender);
        let found = find_sender
            .query_row(params![org, chat, sender], |row| {
                let facts = SenderFacts {
                    present: row.get(0)?,
                    may_post: row.get(1)?,
                    open: row.get(2)?,
                };
                Ok((facts, row.get::<_, i64>(3)?))
            })
            .optional()?;
        let verdict = verdict(found.map(|(facts, _)| facts));
        if let (Ok(()), Some((_, head))) = (verdict, found) {
            let seq = heads.entry((org, chat)).or_insert(head);
            let next = *seq + 1;
            let values = params![
                org,
                chat,
                next,
                bytes(pending.entry_id),
                MESSAGE,
                sender,
                message.request_id.into_bytes(),
                pending.digest,
                message.text,
                pending.service,
                time,
            ];
            match insert.execute(values) {
                Ok(_) => {
                    *seq = next;
                    new_heads.insert((org, chat), next);
                    outcomes.push(Outcome::Stored(Stored {
                        entry_id: pending.entry_id,
                        seq: next,
                        create_time: now,
                    }));
                    continue;
                }
                // Only the statement is undone. The sequence number stays free.
                Err(error) if is_repetition(&error) => {}
                Err(error) => return Err(error),
            }
        }
        // A repetition returns the stored entry, even if the sender may no longer write.
        let repeated = match verdict {
            Err(refused) if !refused.may_repeat() => None,
            _ => find_repeated_entry(&mut find_repeated, pending)?,
        };
        outcomes.push(match (repeated, verdict) {
            (Some(outcome), _) => outcome,
            (None, Err(refused)) => {
                let mut find_state = tx.prepare_cached(&FIND_STATE)?;
                let state = find_state.query_row(params![org, sender], |row| row.get(0));
                Outcome::Refused(refused, state.optional()?)
            }
            (None, Ok(())) => {
                return Err(Error::SqliteFailure(
                    ffi::Error::new(ffi::SQLITE_CONSTRAINT_PRIMARYKEY),
                    Some(format!("the head of chat {} is behind its log", message.to)),
                ));
            }
        });
    }
    let mut update_head = tx.prepare_cached(UPDATE_HEAD)?;
    for ((org, chat), seq) in new_heads {
        update_head.execute(params![org, chat, seq])?;
    }
    Ok(outcomes)
}

fn is_repetition(error: &Error) -> bool {
    matches!(error, Error::SqliteFailure(failure, _)
        if [ffi::SQLITE_CONSTRAINT_UNIQUE, ffi::SQLITE_CONSTRAINT_PRIMARYKEY].contains(&failure.extended_code))
}

/// Finds the stored entry of a message by its `request_id`.
fn find_repeated_entry(
    statement: &mut CachedStatement<'_>,
    pending: &PendingMessage,
) -> Result<Option<Outcome>, Error> {
    let message = &pending.message;
    let (org, chat, sender) = (bytes(message.org_id), bytes(message.to), bytes(pending.sender));
    statement
        .query_row(
            params![org, chat, sender, message.request_id.into_bytes()],
            |row| {
                let digest: Option<Vec<u8>> = row.get(0)?;
                let time: String = row.get(3)?;
                let time = chrono::DateTime::parse_from_rfc3339(&time)
                    .map_err(|error| Error::FromSqlConversionFailure(3, Type::Text, error.into()))?;
                let stored = Stored {
                    entry_id: EntryId::from_uuid(Uuid::from_bytes(row.get(1)?)),
                    seq: row.get(2)?,
                    create_time: time.to_utc(),
                };
                Ok(Outcome::repeated(pending, digest.as_deref(), stored))
            },
        )
        .optional()
}
