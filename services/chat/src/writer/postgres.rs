//! One round trip a batch: `chat_post` of the schema, committed by itself.
use std::collections::HashMap;

use parta_ids::{EntryId, TypedId};
use parta_storage::{Db, StorageError};
use sea_orm::{
    DbErr, RuntimeErr,
    sqlx::{self, PgConnection, Postgres, Row, pool::PoolConnection},
};
use uuid::Uuid;

use super::{Outcome, Post, Stored, Time, outcome};

const SQL: &str =
    "SELECT input_id, verdict, seq, entry_id, create_time FROM chat_post($1,$2,$3,$4,$5,$6,$7,$8,$9)";

fn failed(error: sqlx::Error) -> StorageError {
    DbErr::Query(RuntimeErr::SqlxError(error.into())).into()
}

/// The writer's own connection, kept from batch to batch: a pool asks a connection whether it lives before and after each
/// use, two more round trips than a batch has, and a plan is kept by one connection only.
#[derive(Default)]
pub(super) struct Link(Option<PoolConnection<Postgres>>);

impl Link {
    async fn connection(&mut self, db: &Db) -> Result<&mut PgConnection, sqlx::Error> {
        let connection = match self.0.take() {
            Some(connection) => connection,
            None => db.writer().get_postgres_connection_pool().acquire().await?,
        };
        Ok(&mut *self.0.insert(connection))
    }
}

/// One round trip. After a failure the connection goes back to the pool, which tries whether it still lives.
pub(super) async fn store(
    db: &Db,
    link: &mut Link,
    posts: &[Post],
    now: Time,
) -> Result<Vec<Outcome>, StorageError> {
    let stored = post(db, link, posts, now).await;
    if stored.is_err() {
        link.0 = None;
    }
    stored
}

async fn post(db: &Db, link: &mut Link, posts: &[Post], now: Time) -> Result<Vec<Outcome>, StorageError> {
    let ids = |of: fn(&Post) -> Uuid| posts.iter().map(of).collect::<Vec<_>>();
    let query = sqlx::query(SQL)
        .bind(ids(|p| p.org_id.uuid()))
        .bind(ids(|p| p.chat_id.uuid()))
        .bind(ids(|p| p.sender.uuid()))
        .bind(ids(|p| p.request_id))
        .bind(posts.iter().map(|p| p.digest.as_slice()).collect::<Vec<_>>())
        .bind(ids(|p| p.entry_id.uuid()))
        .bind(posts.iter().map(|p| p.text.as_str()).collect::<Vec<_>>())
        .bind(posts.iter().map(|p| p.service.as_deref()).collect::<Vec<_>>())
        .bind(now);
    let connection = link.connection(db).await.map_err(failed)?;
    let rows = query.fetch_all(connection).await.map_err(failed)?;
    let mut found = HashMap::with_capacity(rows.len());
    for row in rows {
        let (input, outcome) = read(&row).map_err(failed)?;
        found.insert(input, outcome);
    }
    posts
        .iter()
        .map(|post| {
            let lost = || StorageError::Fault("a message was neither stored nor refused".into());
            found.remove(&post.entry_id.uuid()).ok_or_else(lost)
        })
        .collect()
}

fn read(row: &sqlx::postgres::PgRow) -> Result<(Uuid, Outcome), sqlx::Error> {
    let verdict: i16 = row.try_get(1)?;
    let outcome = match verdict {
        outcome::ALREADY | outcome::FRESH => Outcome::Stored(Stored {
            seq: row.try_get(2)?,
            entry_id: EntryId::from_uuid(row.try_get(3)?),
            create_time: row.try_get(4)?,
        }),
        outcome::NOT_PARTICIPANT => Outcome::NotParticipant,
        outcome::MAY_NOT_POST => Outcome::MayNotPost,
        outcome::ARCHIVED => Outcome::Archived,
        outcome::REUSED => Outcome::RequestIdReused,
        other => {
            return Err(sqlx::Error::Protocol(format!(
                "chat_post answered verdict {other}"
            )));
        }
    };
    Ok((row.try_get(0)?, outcome))
}
