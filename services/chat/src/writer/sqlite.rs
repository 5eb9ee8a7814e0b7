//! One transaction a batch behind the write gate, a handful of multi-row statements whatever its size.
use std::collections::{BTreeMap, HashMap};

use parta_ids::{EntryId, TypedId};
use parta_storage::{Db, StorageError, Tx};
use sea_orm::{
    ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QuerySelect, Set, Statement,
    sea_query::{Expr, ExprTrait, ValueTuple},
};
use uuid::Uuid;

use super::{Outcome, Post, Stored, Time};
use crate::storage::{MESSAGE, chat, entry, participant};

/// Organisation and chat.
type Head = (Uuid, Uuid);

pub(super) async fn store(db: &Db, posts: &[Post], now: Time) -> Result<Vec<Outcome>, StorageError> {
    db.write(|tx| async move { run(&tx, posts, now).await }).await
}

async fn run(tx: &Tx, posts: &[Post], now: Time) -> Result<Vec<Outcome>, StorageError> {
    let mut heads = heads(tx, posts).await?;
    let seats = seats(tx, posts).await?;
    let stored = stored(tx, posts).await?;
    let mut rows = Vec::new();
    let mut grown: BTreeMap<Head, i64> = BTreeMap::new();
    let outcomes = posts
        .iter()
        .map(|post| {
            let at = (post.org_id.uuid(), post.chat_id.uuid());
            if let Some((digest, was)) = stored.get(&(at.0, at.1, post.sender.uuid(), post.request_id)) {
                let same = digest.as_deref() == Some(post.digest.as_slice());
                return if same {
                    Outcome::Stored(was.clone())
                } else {
                    Outcome::RequestIdReused
                };
            }
            let (Some((seq, archived)), Some(may_post)) =
                (heads.get_mut(&at), seats.get(&(at.0, at.1, post.sender.uuid())))
            else {
                return Outcome::NotParticipant;
            };
            if *archived {
                return Outcome::Archived;
            }
            if !may_post {
                return Outcome::MayNotPost;
            }
            *seq += 1;
            grown.insert(at, *seq);
            rows.push(row(post, *seq, now));
            Outcome::Stored(Stored {
                entry_id: post.entry_id,
                seq: *seq,
                create_time: now,
            })
        })
        .collect();
    if !rows.is_empty() {
        entry::Entity::insert_many(rows)
            .exec_without_returning(tx)
            .await?;
        grow(tx, &grown).await?;
    }
    Ok(outcomes)
}

fn row(post: &Post, seq: i64, now: Time) -> entry::ActiveModel {
    entry::ActiveModel {
        org_id: Set(post.org_id.uuid()),
        chat_id: Set(post.chat_id.uuid()),
        seq: Set(seq),
        entry_id: Set(post.entry_id.uuid()),
        kind: Set(MESSAGE),
        sender: Set(Some(post.sender.uuid())),
        request_id: Set(Some(post.request_id)),
        digest: Set(Some(post.digest.clone())),
        body: Set(Some(post.text.clone())),
        subject: Set(None),
        service: Set(post.service.clone()),
        create_time: Set(now),
    }
}

async fn heads(tx: &Tx, posts: &[Post]) -> Result<HashMap<Head, (i64, bool)>, StorageError> {
    let keys = posts
        .iter()
        .map(|p| ValueTuple::Two(p.org_id.uuid().into(), p.chat_id.uuid().into()));
    let columns = Expr::tuple([Expr::col(chat::Column::OrgId), Expr::col(chat::Column::ChatId)]);
    let rows: Vec<(Uuid, Uuid, i64, Option<Time>)> = chat::Entity::find()
        .select_only()
        .columns([
            chat::Column::OrgId,
            chat::Column::ChatId,
            chat::Column::HeadSeq,
            chat::Column::ArchiveTime,
        ])
        .filter(columns.in_tuples(keys))
        .into_tuple()
        .all(tx)
        .await?;
    Ok(rows
        .into_iter()
        .map(|(org, chat, seq, archived)| ((org, chat), (seq, archived.is_some())))
        .collect())
}

async fn seats(tx: &Tx, posts: &[Post]) -> Result<HashMap<(Uuid, Uuid, Uuid), bool>, StorageError> {
    use participant::Column;
    let keys = posts.iter().map(|p| {
        ValueTuple::Three(
            p.org_id.uuid().into(),
            p.chat_id.uuid().into(),
            p.sender.uuid().into(),
        )
    });
    let columns = Expr::tuple([
        Expr::col(Column::OrgId),
        Expr::col(Column::ChatId),
        Expr::col(Column::MemberId),
    ]);
    let rows: Vec<(Uuid, Uuid, Uuid, bool)> = participant::Entity::find()
        .select_only()
        .columns([Column::OrgId, Column::ChatId, Column::MemberId, Column::MayPost])
        .filter(columns.in_tuples(keys))
        .filter(Column::LeftSeq.is_null())
        .into_tuple()
        .all(tx)
        .await?;
    Ok(rows
        .into_iter()
        .map(|(org, chat, member, may_post)| ((org, chat, member), may_post))
        .collect())
}

type Request = (Uuid, Uuid, Uuid, Uuid);

async fn stored(
    tx: &Tx,
    posts: &[Post],
) -> Result<HashMap<Request, (Option<Vec<u8>>, Stored)>, StorageError> {
    use entry::Column;
    let keys = posts.iter().map(|p| {
        let key = [p.org_id.uuid(), p.chat_id.uuid(), p.sender.uuid(), p.request_id];
        ValueTuple::Many(key.map(Into::into).to_vec())
    });
    let columns = [Column::OrgId, Column::ChatId, Column::Sender, Column::RequestId].map(Expr::col);
    let rows = entry::Entity::find()
        .filter(Expr::tuple(columns).in_tuples(keys))
        .all(tx)
        .await?;
    let found = rows.into_iter().filter_map(|row| {
        let stored = Stored {
            entry_id: EntryId::from_uuid(row.entry_id),
            seq: row.seq,
            create_time: row.create_time,
        };
        Some((
            (row.org_id, row.chat_id, row.sender?, row.request_id?),
            (row.digest, stored),
        ))
    });
    Ok(found.collect())
}

async fn grow(tx: &Tx, heads: &BTreeMap<Head, i64>) -> Result<(), StorageError> {
    let marks = vec!["(?, ?, ?)"; heads.len()].join(", ");
    // SQLite names the columns of VALUES itself.
    let sql = format!(
        "UPDATE chat SET head_seq = v.column3 FROM (VALUES {marks}) AS v \
         WHERE chat.org_id = v.column1 AND chat.chat_id = v.column2"
    );
    let values = heads
        .iter()
        .flat_map(|((org, chat), seq)| [(*org).into(), (*chat).into(), (*seq).into()]);
    tx.execute_raw(Statement::from_sql_and_values(
        tx.get_database_backend(),
        sql,
        values,
    ))
    .await?;
    Ok(())
}
