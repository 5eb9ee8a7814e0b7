//! One round trip a batch: a function of the schema, committed by itself.
use std::collections::{BTreeMap, HashMap};

use parta_ids::{EntryId, TypedId};
use parta_storage::{Db, PooledConnection, StorageError};
use sea_orm::{
    DbErr, RuntimeErr,
    sqlx::{self, PgConnection, Row, postgres::PgRow},
};
use uuid::Uuid;

use super::{Outcome, PendingMessage, Stored, Time};

const MANY: &str = "SELECT place, verdict, seq FROM chat_post_many($1,$2,$3,$4,$5,$6,$7,$8,$9,$10)";
const ONE: &str = "SELECT 1::bigint, verdict, seq FROM chat_post_one($1,$2,$3,$4,$5,$6,$7,$8,$9)";
const FIND: &str = "SELECT i.place, e.digest, e.entry_id, e.seq, e.create_time \
     FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::uuid[]) WITH ORDINALITY \
       AS i(org_id, chat_id, sender, request_id, place) \
     JOIN LATERAL (SELECT * FROM entry WHERE org_id = i.org_id AND chat_id = i.chat_id AND sender = i.sender \
       AND request_id = i.request_id LIMIT 1) e ON true";

fn failed(error: sqlx::Error) -> StorageError {
    DbErr::Query(RuntimeErr::SqlxError(error.into())).into()
}

/// The writer's own connection, kept from batch to batch: a pool asks a connection whether it lives before and after each
/// use, two more round trips than a batch has, and a plan is kept by one connection only.
#[derive(Default)]
pub(super) struct Session(Option<PooledConnection>);

impl Session {
    async fn connection(&mut self, db: &Db) -> Result<&mut PgConnection, StorageError> {
        let lease = match self.0.take() {
            Some(lease) => lease,
            None => db.lease_writer().await?,
        };
        Ok(self.0.insert(lease).connection())
    }

    /// After a failure the connection goes back to the pool, which tries whether it still lives.
    fn keep<T>(&mut self, result: Result<T, sqlx::Error>) -> Result<T, StorageError> {
        if result.is_err() {
            self.0 = None;
        }
        result.map_err(failed)
    }

    async fn post(
        &mut self,
        db: &Db,
        posts: &[&PendingMessage],
        now: Time,
    ) -> Result<Vec<PgRow>, StorageError> {
        let rows = post(self.connection(db).await?, posts, now).await;
        self.keep(rows)
    }

    async fn find(&mut self, db: &Db, posts: &[&PendingMessage]) -> Result<Vec<PgRow>, StorageError> {
        let rows = find(self.connection(db).await?, posts).await;
        self.keep(rows)
    }
}

async fn post(
    connection: &mut PgConnection,
    posts: &[&PendingMessage],
    now: Time,
) -> Result<Vec<PgRow>, sqlx::Error> {
    if let [post] = posts {
        let query = sqlx::query(ONE)
            .bind(post.org_id.uuid())
            .bind(post.chat_id.uuid())
            .bind(post.sender.uuid())
            .bind(post.request_id)
            .bind(post.digest.as_slice())
            .bind(post.entry_id.uuid())
            .bind(post.text.as_str())
            .bind(post.service.as_deref())
            .bind(now);
        return query.fetch_all(connection).await;
    }
    let mut chats: BTreeMap<(Uuid, Uuid), i32> = posts
        .iter()
        .map(|post| ((post.org_id.uuid(), post.chat_id.uuid()), 0))
        .collect();
    for (at, number) in chats.values_mut().zip(1..) {
        *at = number;
    }
    let at = |post: &&&PendingMessage| {
        let key = (post.org_id.uuid(), post.chat_id.uuid());
        chats.get(&key).copied().unwrap_or_default()
    };
    let query = sqlx::query(MANY)
        .bind(chats.keys().map(|(org, _)| *org).collect::<Vec<_>>())
        .bind(chats.keys().map(|(_, chat)| *chat).collect::<Vec<_>>())
        .bind(posts.iter().map(|post| at(&post)).collect::<Vec<_>>())
        .bind(ids(posts, |post| post.sender.uuid()))
        .bind(ids(posts, |post| post.request_id))
        .bind(posts.iter().map(|p| p.digest.as_slice()).collect::<Vec<_>>())
        .bind(ids(posts, |post| post.entry_id.uuid()))
        .bind(posts.iter().map(|p| p.text.as_str()).collect::<Vec<_>>())
        .bind(posts.iter().map(|p| p.service.as_deref()).collect::<Vec<_>>())
        .bind(now);
    query.fetch_all(connection).await
}

async fn find(connection: &mut PgConnection, posts: &[&PendingMessage]) -> Result<Vec<PgRow>, sqlx::Error> {
    let query = sqlx::query(FIND)
        .bind(ids(posts, |post| post.org_id.uuid()))
        .bind(ids(posts, |post| post.chat_id.uuid()))
        .bind(ids(posts, |post| post.sender.uuid()))
        .bind(ids(posts, |post| post.request_id));
    query.fetch_all(connection).await
}

fn ids(posts: &[&PendingMessage], of: fn(&PendingMessage) -> Uuid) -> Vec<Uuid> {
    posts.iter().map(|post| of(post)).collect()
}

/// Stores what is new and finds what is a repetition, which the key of the log refuses.
pub(super) async fn store(
    db: &Db,
    link: &mut Session,
    posts: &[PendingMessage],
    now: Time,
) -> Result<Vec<Outcome>, StorageError> {
    let all: Vec<&PendingMessage> = posts.iter().collect();
    let (mut known, mut new) = (HashMap::new(), all.clone());
    let mut judged = loop {
        if new.is_empty() {
            break HashMap::new();
        }
        match insert(db, link, &new, now).await {
            Err(error @ StorageError::UniqueViolation { .. }) => {
                // Another replica may store a message between the look and the next attempt: each time one is found, so it ends.
                let found = stored(db, link, &new).await?;
                if found.is_empty() {
                    return Err(error);
                }
                new.retain(|post| !found.contains_key(&post.entry_id));
                known.extend(found);
            }
            other => break other?,
        }
    };
    // Repetitions are answered first, whatever has happened since.
    let refused: Vec<&PendingMessage> = all
        .iter()
        .copied()
        .filter(|post| {
            judged
                .get(&post.entry_id)
                .is_some_and(|(_, may_repeat)| *may_repeat)
        })
        .collect();
    if !refused.is_empty() {
        known.extend(stored(db, link, &refused).await?);
    }
    all.iter()
        .map(|post| {
            let lost = || StorageError::Fault("a message was neither stored nor refused".into());
            let repeated = known.remove(&post.entry_id);
            let outcome = repeated.or_else(|| judged.remove(&post.entry_id).map(|(outcome, _)| outcome));
            outcome.ok_or_else(lost)
        })
        .collect()
}

/// One round trip, by the ids that the posts would get; of what is refused, whether it may have been stored before.
async fn insert(
    db: &Db,
    link: &mut Session,
    posts: &[&PendingMessage],
    now: Time,
) -> Result<HashMap<EntryId, (Outcome, bool)>, StorageError> {
    let rows = link.post(db, posts, now).await?;
    let outcome = |row: PgRow| {
        let post = at(posts, &row)?;
        let outcome = match row.try_get::<i16, _>(1)? {
            1 => {
                let stored = Stored {
                    entry_id: post.entry_id,
                    seq: row.try_get(2)?,
                    create_time: now,
                };
                (Outcome::Stored(stored), false)
            }
            2 => (Outcome::NotParticipant, true),
            3 => (Outcome::MayNotPost, true),
            4 => (Outcome::Archived, true),
            5 => (Outcome::NotParticipant, false),
            other => return Err(sqlx::Error::Protocol(format!("a post has the verdict {other}"))),
        };
        Ok((post.entry_id, outcome))
    };
    rows.into_iter()
        .map(outcome)
        .collect::<Result<_, _>>()
        .map_err(failed)
}

/// What the posts' request ids stand for already.
async fn stored(
    db: &Db,
    link: &mut Session,
    posts: &[&PendingMessage],
) -> Result<HashMap<EntryId, Outcome>, StorageError> {
    let rows = link.find(db, posts).await?;
    let outcome = |row: PgRow| {
        let post = at(posts, &row)?;
        let digest: Option<&[u8]> = row.try_get(1)?;
        let stored = Stored {
            entry_id: EntryId::from_uuid(row.try_get(2)?),
            seq: row.try_get(3)?,
            create_time: row.try_get(4)?,
        };
        Ok((post.entry_id, Outcome::repeated(post, digest, stored)))
    };
    rows.into_iter()
        .map(outcome)
        .collect::<Result<_, _>>()
        .map_err(failed)
}

/// The post that a row speaks of, by its place in the batch.
fn at<'a>(posts: &[&'a PendingMessage], row: &PgRow) -> Result<&'a PendingMessage, sqlx::Error> {
    let place: i64 = row.try_get(0)?;
    let post = usize::try_from(place - 1).ok().and_then(|at| posts.get(at));
    post.copied()
        .ok_or_else(|| sqlx::Error::Protocol(format!("a batch has no place {place}")))
}
