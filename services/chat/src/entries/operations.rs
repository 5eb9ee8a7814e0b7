//! Changes of chats and participants. Each runs in the transaction of its caller and appends the events of
//! the feed.
use std::collections::{BTreeMap, BTreeSet};

use parta_access::OrgScope;
use parta_database::{StorageError, Tx};
use parta_ids::{ChatId, MemberId, OrgId, TypedId, UnitId};
use parta_roster::{Roster, Unit};
use sea_orm::ConnectionTrait;

use super::{
    ChatKind, ChatMembership, Content, Entry, EntrySink, ParticipantDiff, Reader, ShownTo, events, storage,
};
use crate::error::Error;

/// Creates a chat without participants. `key` is its unique key in the organization, if it has one.
pub(crate) async fn create_chat(
    tx: &Tx,
    scope: &OrgScope,
    kind: ChatKind,
    unit: Option<UnitId>,
    key: Option<String>,
    label: &str,
) -> Result<ChatId, StorageError> {
    let chat = storage::insert_chat(tx, scope, kind, unit, key, label).await?;
    if kind != ChatKind::Direct {
        events::append_chat_created(tx, scope, chat, unit);
    }
    Ok(chat)
}

/// Changes the participants of a chat, as [`apply_diffs`] does.
pub(crate) async fn apply_diff(
    tx: &Tx,
    sink: &dyn EntrySink,
    scope: &OrgScope,
    (chat, kind): (ChatId, ChatKind),
    diff: &ParticipantDiff,
) -> Result<(), StorageError> {
    apply_diffs(tx, sink, scope, &[(chat, (kind, diff))].into()).await
}

/// Changes the participants of several chats, which are locked in the order of their keys. The entries are
/// published after the commit. The feed has no events of personal chats: external systems read it, and no
/// service needs them.
pub(crate) async fn apply_diffs(
    tx: &Tx,
    sink: &dyn EntrySink,
    scope: &OrgScope,
    diffs: &BTreeMap<ChatId, (ChatKind, &ParticipantDiff)>,
) -> Result<(), StorageError> {
    let of_chats = diffs.iter().map(|(chat, (_, diff))| (*chat, *diff)).collect();
    let storage::Applied {
        entries,
        responsibilities,
    } = storage::apply_diffs(tx, scope, &of_chats).await?;
    for entry in &entries {
        let kind = diffs.get(&entry.chat_id).map(|(kind, _)| *kind);
        if kind != Some(ChatKind::Direct) {
            events::append_participant_moved(tx, scope, entry);
        }
    }
    for (chat, responsibility) in responsibilities {
        events::append_responsibility_changed(tx, scope, chat, responsibility);
    }
    sink.publish_after_commit(tx, entries);
    Ok(())
}

/// Closes the personal and named chats of a member whose record was released, so that the next person who is
/// the member reads nothing of them. The member leaves them, and a pair opens a new personal chat. Returns
/// the other participants of the named chats.
pub(crate) async fn seal_chats_of(
    tx: &Tx,
    sink: &dyn EntrySink,
    scope: &OrgScope,
    member: MemberId,
) -> Result<BTreeSet<MemberId>, StorageError> {
    let chats = storage::list_private_chats(tx, scope, member).await?;
    let leaving = ParticipantDiff {
        leaves: [member].into(),
        ..ParticipantDiff::default()
    };
    let diffs = chats.iter().map(|(chat, kind)| (*chat, (*kind, &leaving)));
    apply_diffs(tx, sink, scope, &diffs.collect()).await?;
    let ids: Vec<ChatId> = chats.keys().copied().collect();
    storage::seal(tx, scope, &ids, member).await?;
    // The roster decides no longer about these chats, because the member is in none of them.
    let personal = chats.iter().filter(|(_, kind)| **kind == ChatKind::Direct);
    let personal: Vec<ChatId> = personal.map(|(chat, _)| *chat).collect();
    storage::silence(tx, scope, &personal).await?;
    let mut others = BTreeSet::new();
    for (chat, _) in chats.iter().filter(|(_, kind)| **kind == ChatKind::Custom) {
        others.extend(storage::participants(tx, scope, *chat).await?.into_keys());
    }
    Ok(others)
}

/// Updates the label of the chats of a unit, and archives those of an archived one at the time of the unit.
pub(crate) async fn update_chats_of_unit(tx: &Tx, scope: &OrgScope, unit: &Unit) -> Result<(), StorageError> {
    // Locked in the order of their keys before the first one changes.
    let chats = storage::lock_chats_of_unit(tx, scope, unit.unit_id).await?;
    storage::relabel_unit(tx, scope, unit.unit_id, &unit.label).await?;
    for row in chats.into_iter().filter(|_| unit.archived) {
        let (chat, had) = (ChatId::from_uuid(row.chat_id), row.archive_time);
        // An earlier build published no time, and the time of the arrival stays.
        let time = unit.archive_time.or(had).unwrap_or_else(|| tx.now());
        if had != Some(time) {
            storage::archive_chat(tx, row, time).await?;
        }
        if had.is_none() {
            events::append_chat_archived(tx, scope, chat);
        }
    }
    Ok(())
}

/// The participant as a reader of these entries. The adults of protected families are looked up only if an
/// entry could show one of them.
pub(crate) async fn reader_of(
    conn: &impl ConnectionTrait,
    roster: &Roster,
    membership: &ChatMembership,
    entries: &[Entry],
) -> Result<Reader, Error> {
    let member = MemberId::from_uuid(membership.participant.member_id);
    let is_staff = membership.reads_as_staff()?;
    let may_show = |entry: &Entry| match entry.content {
        Content::Joining(who, ShownTo::Everybody) | Content::Leaving(who, ShownTo::Everybody) => {
            who != member
        }
        _ => false,
    };
    let hidden = if !is_staff && entries.iter().any(may_show) {
        let org = OrgId::from_uuid(membership.chat.org_id);
        roster.protected_adults(conn, org).await?
    } else {
        Default::default()
    };
    Ok(Reader {
        member,
        is_staff,
        hidden,
    })
}

/// Serializes the transactions that change the roster of an organization (`exclusive`) with those that decide
/// by the roster and change participants (shared). Without it two consumers, or a consumer and a call, could
/// each overlook the change that the other is about to commit. Acquire it before reading. On SQLite the write
/// lock does the same.
pub(crate) async fn lock_roster(tx: &Tx, org: OrgId, exclusive: bool) -> Result<(), StorageError> {
    if tx.db().is_postgres() {
        storage::lock_organization(tx, org, exclusive).await
    } else {
        Ok(())
    }
}
