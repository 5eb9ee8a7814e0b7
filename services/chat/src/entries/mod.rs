//! The rows of chats, their participants and their logs, and the changes that every feature makes to them.
//!
//! Owns the tables `chat`, `participant`, `entry` and `entry_archive`. Invariants: the sequence numbers of a
//! chat have no gap and follow the order of the commits; a change of participants and its entries are written
//! in one transaction with the row of the chat locked; committed entries are published through [`EntrySink`].
pub(crate) mod events;
mod model;
mod operations;
mod sink;
mod storage;

#[cfg(test)]
mod tests;

pub(crate) use model::{
    Beginning, ChatKind, Content, Entry, ParticipantDiff, ParticipantKind, ParticipantRights, Reader,
    Responsibility, Rule, ShownTo, difference, direct_chat_key,
};
pub(crate) use operations::{
    apply_diff, apply_diffs, create_chat, lock_roster, reader_of, seal_chats_of, update_chats_of_unit,
};
pub(crate) use sink::EntrySink;
pub(crate) use storage::{
    ChatMembership, Head, LOOKUP_MAX_ROWS, MESSAGE, chat, count_chats, count_unread, entry, find_chat,
    find_chat_by_key, find_entries, find_entry_ids, find_heads, find_membership, find_membership_and_state,
    find_own_move, find_peer, find_peers, has_other_participants, hidden_upto, kind_of, list_chats,
    list_chats_concerning, list_chats_without_responsible, list_entries, list_members, list_memberships,
    list_memberships_page, list_participants, list_unsupervised, lock_chat, move_read_mark, participant,
    participant_kind, participants, participants_among, responsibility_of, rule_of,
};
#[cfg(test)]
pub(crate) use storage::{EntryTable, UNREAD_MAX, entries_query, memberships_query, peers_query};
