//! Named queries of chats, participants and entries. Every function takes the scope of one organization.
//!
//! The message writer (`messages/writer`) has its own statements on the same tables.
mod apply;
mod chats;
mod entities;
mod log;
mod participants;

pub(crate) use apply::apply_diff;
pub(crate) use chats::{
    ChatMembership, archive_chat, find_chat_by_key, find_membership, find_membership_and_state, find_peer,
    find_peers, insert_chat, kind_of, list_chats, list_chats_concerning, list_chats_of_unit,
    list_memberships, list_memberships_page, relabel_unit, rule_of,
};
pub(crate) use entities::{chat, entry, participant};
pub(crate) use log::{MESSAGE, find_own_move, list_entries};
pub(crate) use participants::{
    list_members, list_participants, lock_chat, lock_organization, move_read_mark, participants,
    participants_among,
};
#[cfg(test)]
pub(crate) use {
    chats::{memberships_query, peers_query},
    log::{EntryTable, entries_query},
};
