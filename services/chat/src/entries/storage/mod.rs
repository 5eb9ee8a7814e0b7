//! Named queries of chats, participants and entries. Every function takes the scope of one organization.
//!
//! The message writer (`messages/writer`) has its own statements on the same tables.
mod apply;
mod chats;
mod entities;
mod heads;
mod kinds;
mod log;
mod participants;
mod times;
mod unread;

pub(crate) use apply::{Applied, apply_diffs};
pub(crate) use chats::{
    ChatMembership, archive_chat, find_chat, find_chat_by_key, find_membership, find_membership_and_state,
    find_peer, find_peers, insert_chat, list_chats, list_chats_concerning, list_chats_without_responsible,
    list_memberships, list_memberships_page, list_unsupervised, relabel_unit, responsibility_of, rule_of,
};
pub(crate) use entities::{chat, entry, participant};
pub(crate) use heads::{Head, LOOKUP_MAX_ROWS, count_chats, find_entry_ids, find_heads};
pub(crate) use kinds::{kind_of, participant_kind};
pub(crate) use log::{MESSAGE, find_entries, find_own_move, hidden_upto, list_entries};
pub(crate) use participants::{
    has_other_participants, list_members, list_participants, list_private_chats, lock_chat,
    lock_chats_of_unit, lock_organization, move_read_mark, participants, participants_among, seal, silence,
};
pub(crate) use unread::count_unread;

/// Repeats the last item until the length is a power of two, so that few different statements are prepared.
fn padded<T: Clone>(mut items: Vec<T>) -> Vec<T> {
    if let Some(last) = items.last().cloned() {
        items.resize(items.len().next_power_of_two(), last);
    }
    items
}

#[cfg(test)]
pub(crate) use {
    chats::{memberships_query, peers_query},
    log::{EntryTable, entries_query},
    unread::UNREAD_MAX,
};
