//! Changes of who is in a chat: each join and removal is an entry of its log.
use chrono::{DateTime, Utc};
use parta_access::OrgScope;
use parta_ids::{ChatId, EntryId, MemberId, TypedId};
use parta_storage::{StorageError, Tx};
use sea_orm::{
    ActiveModelTrait, ColumnTrait, EntityTrait, IntoActiveModel, QueryFilter, Set,
    sea_query::{Expr, OnConflict},
};

use super::{EntryRow, Kind, chat, entry, log::to_row, participant, participants};
use crate::audience::policy::Diff;

/// Carries out a difference in one chat and returns the entries written. Whoever is in already does not join, whoever is not does not leave, so that it
/// may be computed before the lock was taken. The head's `audience_version` rises with it.
pub(crate) async fn apply(
    tx: &Tx,
    scope: &OrgScope,
    chat: ChatId,
    diff: &Diff,
) -> Result<Vec<EntryRow>, StorageError> {
    let Some(head) = participants::lock_head(tx, scope, chat).await? else {
        return Ok(Vec::new());
    };
    let named = diff.joins.keys().chain(&diff.leaves).copied();
    let known = participants::present(tx, scope, chat, named).await?;
    let is_in = |member: &MemberId| known.get(member).is_some_and(|row| row.left_seq.is_none());
    let joins: Vec<_> = diff.joins.iter().filter(|(member, _)| !is_in(member)).collect();
    let leaves: Vec<_> = diff
        .leaves
        .iter()
        .filter(|member| is_in(member))
        .copied()
        .collect();

    let mut seq = head.head_seq;
    let mut entries = Vec::new();
    let mut note = |kind: Kind, now: DateTime<Utc>, entry_id: EntryId| {
        seq += 1;
        entries.push(EntryRow {
            org_id: scope.org_id(),
            chat_id: chat,
            seq,
            entry_id,
            create_time: now,
            kind,
        });
        seq
    };
    let new_id = || tx.env().id::<EntryId>();
    // Removals first: a join in the same change is nothing that the removed may still see.
    for member in &leaves {
        let at = note(Kind::Leaving(*member), tx.now(), new_id());
        set_left(tx, scope, chat, *member, at).await?;
    }
    let rows: Vec<_> = joins
        .iter()
        .map(|(member, seat)| {
            let at = note(Kind::Joining(**member), tx.now(), new_id());
            participants::joining(scope, chat, **member, **seat, at)
        })
        .collect();
    // Whoever comes back takes the old row; the rows are unique by their key.
    let again = OnConflict::columns([
        participant::Column::OrgId,
        participant::Column::ChatId,
        participant::Column::MemberId,
    ])
    .update_columns([
        participant::Column::JoinedSeq,
        participant::Column::LeftSeq,
        participant::Column::ReadSeq,
        participant::Column::MayPost,
    ])
    .to_owned();
    for some in rows.chunks(500) {
        participant::Entity::insert_many(some.to_vec())
            .on_conflict(again.clone())
            .exec_without_returning(tx)
            .await?;
    }
    for (member, seat) in &diff.changes {
        set_posting(tx, scope, chat, *member, seat.may_post).await?;
    }
    for some in entries.chunks(500) {
        entry::Entity::insert_many(some.iter().map(to_row))
            .exec_without_returning(tx)
            .await?;
    }
    let version = head.audience_version + 1;
    let mut head: chat::ActiveModel = head.into_active_model();
    head.head_seq = Set(seq);
    head.audience_version = Set(version);
    head.update(tx).await?;
    Ok(entries)
}

async fn set_left(
    tx: &Tx,
    scope: &OrgScope,
    chat: ChatId,
    member: MemberId,
    at: i64,
) -> Result<(), StorageError> {
    participant::Entity::update_many()
        .col_expr(participant::Column::LeftSeq, Expr::value(at))
        .filter(participant::Column::OrgId.eq(scope.org_id().uuid()))
        .filter(participant::Column::ChatId.eq(chat.uuid()))
        .filter(participant::Column::MemberId.eq(member.uuid()))
        .exec(tx)
        .await?;
    Ok(())
}

async fn set_posting(
    tx: &Tx,
    scope: &OrgScope,
    chat: ChatId,
    member: MemberId,
    may_post: bool,
) -> Result<(), StorageError> {
    participant::Entity::update_many()
        .col_expr(participant::Column::MayPost, Expr::value(may_post))
        .filter(participant::Column::OrgId.eq(scope.org_id().uuid()))
        .filter(participant::Column::ChatId.eq(chat.uuid()))
        .filter(participant::Column::MemberId.eq(member.uuid()))
        .exec(tx)
        .await?;
    Ok(())
}
