//! Changes of the participants of chats. Each join and each removal is an entry of its log.
use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use parta_access::OrgScope;
use parta_database::{StorageError, Tx};
use parta_ids::{ChatId, EntryId, MemberId, TypedId};
use sea_orm::{
    ActiveModelTrait, ColumnTrait, EntityTrait, IntoActiveModel, QueryFilter, Set, Value,
    sea_query::{Expr, OnConflict},
};

use super::{chat, entry, kinds::kind_of, log::to_row, participant, participants};
use crate::entries::{Content, Entry, ParticipantDiff, ParticipantKind, ShownTo};

/// Applies a difference to each of these chats and returns the entries written. One statement locks the chats
/// in the order of their keys. A present participant does not join again and an absent one does not leave, so
/// a difference may be computed before the row of the chat is locked. Increments the `audience_version` of
/// each chat, and decides whether pupils are left alone in it.
pub(crate) async fn apply_diffs(
    tx: &Tx,
    scope: &OrgScope,
    diffs: &BTreeMap<ChatId, &ParticipantDiff>,
) -> Result<Vec<Entry>, StorageError> {
    let mut entries = Vec::new();
    for head in participants::lock_chats(tx, scope, diffs.keys().copied()).await? {
        if let Some(diff) = diffs.get(&ChatId::from_uuid(head.chat_id)) {
            entries.extend(apply_to_locked(tx, scope, head, diff).await?);
        }
    }
    Ok(entries)
}

async fn apply_to_locked(
    tx: &Tx,
    scope: &OrgScope,
    head: chat::Model,
    diff: &ParticipantDiff,
) -> Result<Vec<Entry>, StorageError> {
    let (chat, chat_kind) = (ChatId::from_uuid(head.chat_id), kind_of(&head)?);
    let named = diff.joins.keys().chain(&diff.leaves).copied();
    let known = participants::rows_of(tx, scope, chat, named).await?;
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
    let mut record = |content: Content, now: DateTime<Utc>, entry_id: EntryId| {
        seq += 1;
        entries.push(Entry {
            org_id: scope.org_id(),
            chat_id: chat,
            seq,
            entry_id,
            create_time: now,
            content,
        });
        seq
    };
    let new_id = || tx.env().id::<EntryId>();
    // Removals come first, so that a removed participant cannot read the joins of the same change.
    for member in &leaves {
        let content = Content::Leaving(*member, ShownTo::of_leaving(chat_kind));
        let at = record(content, tx.now(), new_id());
        let column = participant::Column::LeftSeq;
        update_participant(tx, scope, (chat, *member), column, at).await?;
    }
    let rows: Vec<_> = joins
        .iter()
        .map(|(member, rights)| {
            let shown_to = ShownTo::of_joining(chat_kind, rights.kind);
            let at = record(Content::Joining(**member, shown_to), tx.now(), new_id());
            participants::joining(scope, chat, **member, **rights, at)
        })
        .collect();
    // A member who returns reuses the old row.
    let rejoin = OnConflict::columns([
        participant::Column::OrgId,
        participant::Column::ChatId,
        participant::Column::MemberId,
    ])
    .update_columns([
        participant::Column::JoinedSeq,
        participant::Column::LeftSeq,
        participant::Column::ReadSeq,
        participant::Column::MayPost,
        participant::Column::Kind,
    ])
    .to_owned();
    for some in rows.chunks(500) {
        participant::Entity::insert_many(some.to_vec())
            .on_conflict(rejoin.clone())
            .exec_without_returning(tx)
            .await?;
    }
    for (member, rights) in &diff.changes {
        use participant::Column::{Kind, MayPost};
        update_participant(tx, scope, (chat, *member), MayPost, rights.may_post).await?;
        update_participant(tx, scope, (chat, *member), Kind, rights.kind as i16).await?;
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
    if chat_kind.needs_cleared_adult() {
        let kinds = participants::kinds(tx, scope, chat).await?;
        let has = |kind| kinds.contains(&kind);
        head.unsupervised = Set(has(ParticipantKind::Pupil) && !has(ParticipantKind::ClearedStaff));
    }
    head.update(tx).await?;
    Ok(entries)
}

/// Sets a column of the row of a participant.
async fn update_participant(
    tx: &Tx,
    scope: &OrgScope,
    (chat, member): (ChatId, MemberId),
    column: participant::Column,
    value: impl Into<Value>,
) -> Result<(), StorageError> {
    participant::Entity::update_many()
        .col_expr(column, Expr::value(value))
        .filter(participant::Column::OrgId.eq(scope.org_id().uuid()))
        .filter(participant::Column::ChatId.eq(chat.uuid()))
        .filter(participant::Column::MemberId.eq(member.uuid()))
        .exec(tx)
        .await?;
    Ok(())
}
