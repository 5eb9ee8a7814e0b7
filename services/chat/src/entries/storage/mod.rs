//! Named queries of chat. Every function takes the scope of one organization; the writer, which serves all of them at
//! once, joins on `org_id` throughout.
mod apply;
mod chats;
mod entities;
mod log;
mod participants;

pub(crate) use apply::apply;
pub(crate) use chats::{
    ChatMembership, archive_chat, find_chat_by_key, find_peer, find_peers, find_standing,
    find_standing_and_state, insert_chat, kind_of, list_chats, list_chats_concerning, list_chats_of,
    list_of_unit, list_organizations, list_standings, relabel_unit, rule_of,
};
pub(crate) use entities::{chat, entry, participant};
pub(crate) use log::{EntryRow, Kind, MESSAGE, find_own_move, list_log};
pub(crate) use participants::{
    list_members, list_participants, lock_head, lock_organization, move_read_mark, seats, seats_among,
};
#[cfg(test)]
pub(crate) use {
    chats::{chats_of, peers_of},
    log::{Place, entries_query},
};
