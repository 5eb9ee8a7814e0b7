//! Stores a batch in one round trip by a database function, in a transaction of its own.
use std::{
    collections::{BTreeMap, HashMap},
    sync::LazyLock,
    time::Duration,
};

use parta_database::{Db, PooledConnection, StorageError};
use parta_ids::{EntryId, TypedId};
use parta_roster::Roster;
use sea_orm::{
    DbErr, RuntimeErr,
    sqlx::{self, Row, postgres::PgRow},
};
use uuid::Uuid;

use super::{Outcome, PendingMessage, Stored, Time};
use crate::messages::policy::Refused;

/// The statements that store one message and many. They return the position of a message in the batch, why it
/// was refused, its sequence number, and the state of a sender who was refused.
struct Statements {
    one: String,
    many: String,
}

impl Statements {
    /// The statements of two functions. `before` is a subquery whose row is made before the function is
    /// called; it is called with `now`, an expression over that row, as its last argument.
    fn new(one: &str, many: &str, before: &str) -> Self {
        let now = |parameter| match before {
            "" => format!("${parameter}"),
            _ => format!("CASE WHEN l.is_set <> '' THEN ${parameter} END"),
        };
        // Only the state of a refused sender is read.
        let state = |org, sender| {
            let query = Roster::state_sql(org, sender);
            format!("CASE WHEN f.refusal > {LOCKED} THEN ({query})::int END")
        };
        let (state_of_one, state_of_many) = (
            state("$1", "$3"),
            state("($1)[($3)[f.place::int]]", "($4)[f.place::int]"),
        );
        Self {
            one: format!(
                "SELECT 1::bigint, f.refusal, f.seq, {state_of_one} \
                 FROM {before} {one}($1,$2,$3,$4,$5,$6,$7,$8,{}) f",
                now(9)
            ),
            many: format!(
                "SELECT f.place, f.refusal, f.seq, {state_of_many} \
                 FROM {before} {many}($1,$2,$3,$4,$5,$6,$7,$8,$9,{}) f",
                now(10)
            ),
        }
    }
}

/// They wait for the rows of the chats, for a limited time, so that other chats get the connection. The
/// functions take a value of the row that sets the limit, so that it is set before.
static WAITING: LazyLock<Statements> = LazyLock::new(|| {
    let set = "(SELECT set_config('lock_timeout', '100ms', true) AS is_set OFFSET 0) l, LATERAL";
    Statements::new("chat_post_one", "chat_post_many", set)
});
/// They return [`LOCKED`] for a chat whose row another transaction has locked.
static TRYING: LazyLock<Statements> = LazyLock::new(|| Statements::new("chat_try_one", "chat_try_many", ""));
const LOCKED: i16 = 0;
/// The code of PostgreSQL for a lock that was not acquired in time.
const LOCK_NOT_AVAILABLE: &str = "55P03";
const FIND_REPEATED: &str = "SELECT i.position, e.digest, e.entry_id, e.seq, e.create_time \
     FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::uuid[]) WITH ORDINALITY \
       AS i(org_id, chat_id, sender, request_id, position) \
     JOIN LATERAL (SELECT * FROM entry WHERE org_id = i.org_id AND chat_id = i.chat_id AND sender = i.sender \
       AND request_id = i.request_id LIMIT 1) e ON true";

fn failed(error: sqlx::Error) -> StorageError {
    DbErr::Query(RuntimeErr::SqlxError(error.into())).into()
}

/// The time after which PostgreSQL ends a statement of the writer. All senders wait for the writer, so that
/// it gives up a lost host earlier than others do.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(5);

/// The connection of the writer, kept between batches: each connection caches its own plans.
#[derive(Default)]
pub(super) struct Session {
    connection: Option<PooledConnection>,
    /// Whether to wait for the row of a chat.
    waits: bool,
}

impl Session {
    /// A session that waits, for a limited time, for the row of a chat.
    pub(super) fn waiting() -> Self {
        Self {
            connection: None,
            waits: true,
        }
    }

    /// Returns the connection, or another one if it was lost.
    async fn connection(&mut self, db: &Db) -> Result<&mut PooledConnection, StorageError> {
        let mut kept = self.connection.take();
        if let Some(connection) = &mut kept
            && !connection.is_usable().await
        {
            kept = None;
        }
        let connection = match kept {
            Some(connection) => connection,
            // A session that waits is short: its connection goes back to the pool with the settings of the
            // pool.
            None if self.waits => db.lease_writer(Duration::MAX).await?,
            None => db.lease_writer(STATEMENT_TIMEOUT).await?,
        };
        Ok(self.connection.insert(connection))
    }

    /// Inserts messages; `None` if the row of their chat was not free in time.
    async fn insert(
        &mut self,
        db: &Db,
        messages: &[&PendingMessage],
        now: Time,
    ) -> Result<Option<Vec<PgRow>>, StorageError> {
        let statements: &'static Statements = if self.waits { &WAITING } else { &TRYING };
        match insert(self.connection(db).await?, statements, messages, now).await {
            Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some(LOCK_NOT_AVAILABLE) => {
                Ok(None)
            }
            rows => rows.map(Some).map_err(failed),
        }
    }

    async fn find(&mut self, db: &Db, messages: &[&PendingMessage]) -> Result<Vec<PgRow>, StorageError> {
        let rows = find(self.connection(db).await?, messages).await;
        rows.map_err(failed)
    }
}

async fn insert(
    connection: &mut PooledConnection,
    statements: &'static Statements,
    messages: &[&PendingMessage],
    now: Time,
) -> Result<Vec<PgRow>, sqlx::Error> {
    if let [pending] = messages {
        let message = &pending.message;
        let query = sqlx::query(statements.one.as_str())
            .bind(message.org_id.uuid())
            .bind(message.to.uuid())
            .bind(pending.sender.uuid())
            .bind(message.request_id)
            .bind(pending.digest.as_slice())
            .bind(pending.entry_id.uuid())
            .bind(message.text.as_str())
            .bind(pending.service.as_deref())
            .bind(now);
        return connection.fetch_all(query).await;
    }
    let mut chats: BTreeMap<(Uuid, Uuid), i32> =
        messages.iter().map(|pending| (chat_key(pending), 0)).collect();
    for (index, number) in chats.values_mut().zip(1..) {
        *index = number;
    }
    let chat_index = |pending: &PendingMessage| chats.get(&chat_key(pending)).copied().unwrap_or_default();
    let query = sqlx::query(statements.many.as_str())
        .bind(chats.keys().map(|(org, _)| *org).collect::<Vec<_>>())
        .bind(chats.keys().map(|(_, chat)| *chat).collect::<Vec<_>>())
        .bind(
            messages
                .iter()
                .map(|pending| chat_index(pending))
                .collect::<Vec<_>>(),
        )
        .bind(ids(messages, |pending| pending.sender.uuid()))
        .bind(ids(messages, |pending| pending.message.request_id))
        .bind(
            messages
                .iter()
                .map(|pending| pending.digest.as_slice())
                .collect::<Vec<_>>(),
        )
        .bind(ids(messages, |pending| pending.entry_id.uuid()))
        .bind(
            messages
                .iter()
                .map(|pending| pending.message.text.as_str())
                .collect::<Vec<_>>(),
        )
        .bind(
            messages
                .iter()
                .map(|pending| pending.service.as_deref())
                .collect::<Vec<_>>(),
        )
        .bind(now);
    connection.fetch_all(query).await
}

async fn find(
    connection: &mut PooledConnection,
    messages: &[&PendingMessage],
) -> Result<Vec<PgRow>, sqlx::Error> {
    let query = sqlx::query(FIND_REPEATED)
        .bind(ids(messages, |pending| pending.message.org_id.uuid()))
        .bind(ids(messages, |pending| pending.message.to.uuid()))
        .bind(ids(messages, |pending| pending.sender.uuid()))
        .bind(ids(messages, |pending| pending.message.request_id));
    connection.fetch_all(query).await
}

/// The organization and the chat.
fn chat_key(pending: &PendingMessage) -> (Uuid, Uuid) {
    (pending.message.org_id.uuid(), pending.message.to.uuid())
}

fn ids(messages: &[&PendingMessage], of: fn(&PendingMessage) -> Uuid) -> Vec<Uuid> {
    messages.iter().map(|pending| of(pending)).collect()
}

/// Stores new messages and finds the stored entries of repetitions, which the unique constraint rejects.
/// `None` for a message whose chat another transaction has locked.
pub(super) async fn store(
    db: &Db,
    session: &mut Session,
    messages: &[PendingMessage],
    now: Time,
) -> Result<Vec<Option<Outcome>>, StorageError> {
    let all: Vec<&PendingMessage> = messages.iter().collect();
    let (mut known, mut new) = (HashMap::new(), all.clone());
    let mut outcomes = loop {
        if new.is_empty() {
            break HashMap::new();
        }
        match insert_new(db, session, &new, now).await {
            Err(error @ StorageError::UniqueViolation { .. }) => {
                // Another replica may store more of them before the next attempt. Each attempt finds at least
                // one repetition, so the loop ends.
                let found = find_repeated(db, session, &new).await?;
                if found.is_empty() {
                    return Err(error);
                }
                new.retain(|pending| !found.contains_key(&pending.entry_id));
                known.extend(found.into_iter().map(|(id, outcome)| (id, Some(outcome))));
            }
            other => break other?,
        }
    };
    // A repetition returns the stored entry, even if the sender may no longer write.
    let rejected: Vec<&PendingMessage> = all
        .iter()
        .copied()
        .filter(|pending| {
            let outcome = outcomes.get(&pending.entry_id);
            matches!(outcome, Some(Some(Outcome::Refused(refused, _))) if refused.may_repeat())
        })
        .collect();
    if !rejected.is_empty() {
        let found = find_repeated(db, session, &rejected).await?;
        known.extend(found.into_iter().map(|(id, outcome)| (id, Some(outcome))));
    }
    all.iter()
        .map(|pending| {
            let missing = || StorageError::Fault("a message was neither stored nor rejected".into());
            let repeated = known.remove(&pending.entry_id);
            let outcome = repeated.or_else(|| outcomes.remove(&pending.entry_id));
            outcome.ok_or_else(missing)
        })
        .collect()
}

/// Inserts messages in one round trip. Returns the outcomes by the new entry ids; `None` for a message whose
/// chat is locked.
async fn insert_new(
    db: &Db,
    session: &mut Session,
    messages: &[&PendingMessage],
    now: Time,
) -> Result<HashMap<EntryId, Option<Outcome>>, StorageError> {
    let Some(rows) = session.insert(db, messages, now).await? else {
        return Ok(messages.iter().map(|pending| (pending.entry_id, None)).collect());
    };
    let outcome = |row: PgRow| {
        let pending = message_at(messages, &row)?;
        let outcome = match row.try_get::<Option<i16>, _>(1)? {
            None => Some(Outcome::Stored(Stored {
                entry_id: pending.entry_id,
                seq: row.try_get(2)?,
                create_time: now,
            })),
            Some(LOCKED) => None,
            Some(number) => {
                let unknown = || sqlx::Error::Protocol(format!("unknown refusal {number} of a message"));
                let refused = Refused::from_number(number).ok_or_else(unknown)?;
                Some(Outcome::Refused(refused, row.try_get(3)?))
            }
        };
        Ok((pending.entry_id, outcome))
    };
    rows.into_iter()
        .map(outcome)
        .collect::<Result<_, _>>()
        .map_err(failed)
}

/// Finds the messages whose request ids are already stored. The key is the new entry id.
async fn find_repeated(
    db: &Db,
    session: &mut Session,
    messages: &[&PendingMessage],
) -> Result<HashMap<EntryId, Outcome>, StorageError> {
    let rows = session.find(db, messages).await?;
    let outcome = |row: PgRow| {
        let pending = message_at(messages, &row)?;
        let digest: Option<&[u8]> = row.try_get(1)?;
        let stored = Stored {
            entry_id: EntryId::from_uuid(row.try_get(2)?),
            seq: row.try_get(3)?,
            create_time: row.try_get(4)?,
        };
        Ok((pending.entry_id, Outcome::repeated(pending, digest, stored)))
    };
    rows.into_iter()
        .map(outcome)
        .collect::<Result<_, _>>()
        .map_err(failed)
}

/// The message of a row, by its position in the batch, which begins with 1.
fn message_at<'a>(messages: &[&'a PendingMessage], row: &PgRow) -> Result<&'a PendingMessage, sqlx::Error> {
    let position: i64 = row.try_get(0)?;
    let message = usize::try_from(position - 1)
        .ok()
        .and_then(|index| messages.get(index));
    message
        .copied()
        .ok_or_else(|| sqlx::Error::Protocol(format!("position {position} is outside of the batch")))
}
