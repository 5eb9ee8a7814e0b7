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

use super::{
    chat, chats::responsibility_of, entry, kinds::kind_of, log::to_row, participant, participants,
    times::TimesOfLog,
};
use crate::entries::{
    Beginning, ChatKind, Content, Entry, ParticipantDiff, ParticipantKind, Responsibility, ShownTo,
};

/// The entries and responsibilities that a change of participants wrote.
#[derive(Default)]
pub(crate) struct Applied {
    pub(crate) entries: Vec<Entry>,
    /// The chats that have another responsible member or deputy now.
    pub(crate) responsibilities: Vec<(ChatId, Responsibility)>,
}

/// Applies a difference to each of these chats and returns what was written. One statement locks the chats
/// in the order of their keys. A present participant does not join again and an absent one does not leave, so
/// a difference may be computed before the row of the chat is locked. Increments the `audience_version` of
/// each chat, and decides whether pupils are left alone in it.
pub(crate) async fn apply_diffs(
    tx: &Tx,
    scope: &OrgScope,
    diffs: &BTreeMap<ChatId, &ParticipantDiff>,
) -> Result<Applied, StorageError> {
    let mut applied = Applied::default();
    for head in participants::lock_chats(tx, scope, diffs.keys().copied()).await? {
        let chat = ChatId::from_uuid(head.chat_id);
        if let Some(diff) = diffs.get(&chat) {
            let had = responsibility_of(&head);
            let people = |of: Responsibility| (of.member, of.deputy);
            let changed = diff.responsibility.filter(|new| people(*new) != people(had));
            applied.responsibilities.extend(changed.map(|new| (chat, new)));
            applied
                .entries
                .extend(apply_to_locked(tx, scope, head, diff).await?);
        }
    }
    Ok(applied)
}

async fn apply_to_locked(
    tx: &Tx,
    scope: &OrgScope,
    head: chat::Model,
    diff: &ParticipantDiff,
) -> Result<Vec<Entry>, StorageError> {
    let (chat, chat_kind) = (ChatId::from_uuid(head.chat_id), kind_of(&head)?);
    let named = diff
        .joins
        .keys()
        .chain(&diff.leaves)
        .chain(diff.changes.keys())
        .copied();
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
    // Those who join together read all their joinings.
    let joining_after = head.head_seq + i64::try_from(leaves.len()).unwrap_or(i64::MAX);
    let mut log = TimesOfLog::new(tx, scope, &head);
    let mut rows = Vec::with_capacity(joins.len());
    for (member, rights) in joins {
        let left_seq = known.get(member).and_then(|row| row.left_seq);
        let bounds = log
            .bounds_of_joining(rights.beginning, joining_after, left_seq)
            .await?;
        let shown_to = ShownTo::of_joining(chat_kind, rights.kind);
        let at = record(Content::Joining(*member, shown_to), tx.now(), new_id());
        rows.push(participants::joining(scope, chat, *member, *rights, at, bounds));
    }
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
        participant::Column::VisibleAfter,
        participant::Column::StaffSince,
        participant::Column::FamilySince,
        participant::Column::ReturnedAfter,
    ])
    .to_owned();
    for some in rows.chunks(500) {
        participant::Entity::insert_many(some.to_vec())
            .on_conflict(rejoin.clone())
            .exec_without_returning(tx)
            .await?;
    }
    for (member, rights) in &diff.changes {
        use participant::Column::{FamilySince, Kind, MayPost, StaffSince, VisibleAfter};
        let at = (chat, *member);
        update_participant(tx, scope, at, MayPost, rights.may_post).await?;
        update_participant(tx, scope, at, Kind, rights.kind as i16).await?;
        // A ground that ends takes what only it opened, and one that begins opens more.
        let Some(row) = known.get(member) else { continue };
        let Beginning { staff, family } = rights.beginning;
        if participants::beginning_of(row) != rights.beginning {
            let bounds = (row.joined_seq - 1, row.returned_after);
            let visible_after = log.visible_after(rights.beginning, bounds).await?;
            update_participant(tx, scope, at, VisibleAfter, visible_after).await?;
            update_participant(tx, scope, at, StaffSince, staff).await?;
            update_participant(tx, scope, at, FamilySince, family).await?;
        }
    }
    for some in entries.chunks(500) {
        entry::Entity::insert_many(some.iter().map(to_row))
            .exec_without_returning(tx)
            .await?;
    }
    let version = head.audience_version + 1;
    let responsibility = diff.responsibility.unwrap_or_else(|| responsibility_of(&head));
    let mut head: chat::ActiveModel = head.into_active_model();
    head.head_seq = Set(seq);
    head.audience_version = Set(version);
    if diff.responsibility.is_some() {
        head.responsible_id = Set(responsibility.member.map(TypedId::uuid));
        head.deputy_id = Set(responsibility.deputy.map(TypedId::uuid));
        head.ground_unit_id = Set(responsibility.unit.map(TypedId::uuid));
    }
    if let Some(unsupervised) = is_unsupervised(tx, scope, (chat, chat_kind), responsibility).await? {
        head.unsupervised = Set(unsupervised);
    }
    head.update(tx).await?;
    Ok(entries)
}

/// Whether nobody may write in a chat, because pupils are left alone in it (F15), or because nobody is
/// responsible for a chat with named participants (F14): a suspended member is not. `None` for chats that are
/// no such rooms.
async fn is_unsupervised(
    tx: &Tx,
    scope: &OrgScope,
    (chat, kind): (ChatId, ChatKind),
    responsibility: Responsibility,
) -> Result<Option<bool>, StorageError> {
    if !matches!(kind, ChatKind::ClassPupils | ChatKind::Custom) {
        return Ok(None);
    }
    let kinds = participants::kinds(tx, scope, chat).await?;
    let has = |kind| kinds.contains(&kind);
    Ok(Some(if kind == ChatKind::ClassPupils {
        has(ParticipantKind::Pupil) && !has(ParticipantKind::ClearedStaff)
    } else if let Some(member) = responsibility.member {
        !kinds.is_empty() && !participants::may_post(tx, scope, chat, member.uuid()).await?
    } else {
        !kinds.is_empty()
    }))
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
