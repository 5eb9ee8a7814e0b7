//! One round trip a batch: `chat_post` of the schema, committed by itself.
use std::collections::HashMap;

use parta_ids::{EntryId, TypedId};
use parta_storage::{Db, StorageError};
use sea_orm::{
    DbErr, RuntimeErr,
    sqlx::{self, Row},
};
use uuid::Uuid;

use super::{Outcome, Post, Stored, Time, outcome};

const SQL: &str =
    "SELECT input_id, verdict, seq, entry_id, create_time FROM chat_post($1,$2,$3,$4,$5,$6,$7,$8,$9)";

fn failed(error: sqlx::Error) -> StorageError {
    DbErr::Query(RuntimeErr::SqlxError(error.into())).into()
}

pub(super) async fn store(db: &Db, posts: &[Post], now: Time) -> Result<Vec<Outcome>, StorageError> {
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
    let rows = query
        .fetch_all(db.writer().get_postgres_connection_pool())
        .await
        .map_err(failed)?;
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
