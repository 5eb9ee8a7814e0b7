//! One transaction a batch behind the write gate, by prepared statements on a thread of its own.
use std::collections::{BTreeMap, HashMap};

use chrono::SecondsFormat;
use parta_ids::{EntryId, TypedId};
use parta_storage::{SqliteWriter, StorageError};
use rusqlite::{CachedStatement, Error, OptionalExtension as _, Transaction, ffi, params, types::Type};
use uuid::Uuid;

use super::{Batch, Outcome, PendingMessage, Stored, Time};
use crate::entries::MESSAGE;

const SEAT: &str = "SELECT p.may_post, c.head_seq, c.archive_time IS NULL FROM participant p \
     JOIN chat c ON c.org_id = p.org_id AND c.chat_id = p.chat_id \
     WHERE p.org_id = ?1 AND p.chat_id = ?2 AND p.member_id = ?3 AND p.left_seq IS NULL";
const STORED: &str = "SELECT digest, entry_id, seq, create_time FROM entry \
     WHERE org_id = ?1 AND chat_id = ?2 AND sender = ?3 AND request_id = ?4";
const INSERT: &str = "INSERT INTO entry \
     (org_id, chat_id, seq, entry_id, kind, sender, request_id, digest, body, service, create_time) \
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)";
const GROW: &str = "UPDATE chat SET head_seq = ?3 WHERE org_id = ?1 AND chat_id = ?2";

/// Organization and chat.
type Head = ([u8; 16], [u8; 16]);

fn bytes(id: impl TypedId) -> [u8; 16] {
    id.uuid().into_bytes()
}

pub(super) async fn store(
    writer: &SqliteWriter,
    batch: Batch,
    now: Time,
) -> Result<Vec<Outcome>, StorageError> {
    writer.write(move |tx| run(tx, batch.posts(), now)).await
}

fn run(tx: &Transaction<'_>, posts: &[PendingMessage], now: Time) -> Result<Vec<Outcome>, Error> {
    // As sqlx writes a time, so that both drivers read each other's.
    let time = now.to_rfc3339_opts(SecondsFormat::AutoSi, false);
    let mut seat = tx.prepare_cached(SEAT)?;
    let mut stored = tx.prepare_cached(STORED)?;
    let mut insert = tx.prepare_cached(INSERT)?;
    // A head is read once and then counted here; written once, in the end.
    let mut heads: HashMap<Head, i64> = HashMap::new();
    let mut grown: BTreeMap<Head, i64> = BTreeMap::new();
    let mut outcomes = Vec::with_capacity(posts.len());
    for post in posts {
        let (org, chat) = (bytes(post.org_id), bytes(post.chat_id));
        let sender = bytes(post.sender);
        let found = seat
            .query_row(params![org, chat, sender], |row| {
                Ok((
                    row.get::<_, bool>(0)?,
                    row.get::<_, i64>(1)?,
                    row.get::<_, bool>(2)?,
                ))
            })
            .optional()?;
        let refusal = match found {
            None => Some(Outcome::NotParticipant),
            Some((_, _, false)) => Some(Outcome::Archived),
            Some((false, _, _)) => Some(Outcome::MayNotPost),
            Some(_) => None,
        };
        if let (None, Some((_, head, _))) = (&refusal, found) {
            let seq = heads.entry((org, chat)).or_insert(head);
            let next = *seq + 1;
            let values = params![
                org,
                chat,
                next,
                bytes(post.entry_id),
                MESSAGE,
                sender,
                post.request_id.into_bytes(),
                post.digest,
                post.text,
                post.service,
                time,
            ];
            match insert.execute(values) {
                Ok(_) => {
                    *seq = next;
                    grown.insert((org, chat), next);
                    outcomes.push(Outcome::Stored(Stored {
                        entry_id: post.entry_id,
                        seq: next,
                        create_time: now,
                    }));
                    continue;
                }
                // The statement alone is undone, no place was given.
                Err(error) if repeats(&error) => {}
                Err(error) => return Err(error),
            }
        }
        // Repetitions are answered first, whatever has happened since.
        let before = find(&mut stored, post)?;
        outcomes.push(match (before, refusal) {
            (Some(outcome), _) | (None, Some(outcome)) => outcome,
            (None, None) => {
                return Err(Error::SqliteFailure(
                    ffi::Error::new(ffi::SQLITE_CONSTRAINT_PRIMARYKEY),
                    Some(format!("the head of chat {} is behind its log", post.chat_id)),
                ));
            }
        });
    }
    let mut grow = tx.prepare_cached(GROW)?;
    for ((org, chat), seq) in grown {
        grow.execute(params![org, chat, seq])?;
    }
    Ok(outcomes)
}

fn repeats(error: &Error) -> bool {
    matches!(error, Error::SqliteFailure(failure, _)
        if [ffi::SQLITE_CONSTRAINT_UNIQUE, ffi::SQLITE_CONSTRAINT_PRIMARYKEY].contains(&failure.extended_code))
}

/// What the post's `request_id` stands for already.
fn find(stored: &mut CachedStatement<'_>, post: &PendingMessage) -> Result<Option<Outcome>, Error> {
    let (org, chat, sender) = (bytes(post.org_id), bytes(post.chat_id), bytes(post.sender));
    stored
        .query_row(params![org, chat, sender, post.request_id.into_bytes()], |row| {
            let digest: Option<Vec<u8>> = row.get(0)?;
            let time: String = row.get(3)?;
            let time = chrono::DateTime::parse_from_rfc3339(&time)
                .map_err(|error| Error::FromSqlConversionFailure(3, Type::Text, error.into()))?;
            let stored = Stored {
                entry_id: EntryId::from_uuid(Uuid::from_bytes(row.get(1)?)),
                seq: row.get(2)?,
                create_time: time.to_utc(),
            };
            Ok(Outcome::repeated(post, digest.as_deref(), stored))
        })
        .optional()
}
