//! Loading of chats as one member sees them, and the acts and reads of ChatService.
mod direct;
mod mutations;
mod queries;

use parta_access::{Caller, OrgScope, belongs};
use parta_database::StorageError;
use parta_ids::{ChatId, MemberId, OrgId};
use parta_roster::Roster;
use sea_orm::ConnectionTrait;

pub(crate) use direct::CreateDirectChat;
pub(crate) use mutations::{
    AddParticipants, ChangeChat, CreateChat, RemoveParticipants, TransferResponsibility,
};
pub(crate) use queries::{GetChat, ListChats, ListParticipants, ListUnsupervisedChats, UnsupervisedChat};

use crate::{
    context::{Context, active_scope},
    entries::{
        ChatKind, ChatMembership, count_unread, find_membership, find_membership_and_state, find_peer,
        hidden_upto, participant_kind,
    },
    error::Error,
};

pub(crate) struct Readable {
    pub(crate) membership: ChatMembership,
    /// The member may read what is after this sequence number: that of the joining, or [`hidden_upto`].
    pub(crate) after: i64,
    /// The last sequence number that the member may read.
    pub(crate) upto: i64,
}

/// A chat as a response shows it to one member.
pub(crate) struct ChatView {
    pub(crate) kind: ChatKind,
    pub(crate) membership: ChatMembership,
    /// Whether the member sees who is responsible for the chat. Families see no member here, because the
    /// adults of protected families are in no list that they see.
    pub(crate) shows_responsibility: bool,
    /// The other member of a personal chat.
    pub(crate) peer: Option<MemberId>,
    /// The number of unread messages of others.
    pub(crate) unread: i64,
}

impl ChatView {
    /// Loads a chat that the member may read.
    async fn load(
        conn: &impl ConnectionTrait,
        scope: &OrgScope,
        member: MemberId,
        chat: ChatId,
    ) -> Result<Self, Error> {
        let readable = load_readable(conn, scope, member, chat).await?;
        Ok(Self::of(conn, scope, readable.membership, readable.after).await?)
    }

    /// The view of a member who may read what is after this sequence number.
    async fn of(
        conn: &impl ConnectionTrait,
        scope: &OrgScope,
        membership: ChatMembership,
        after: i64,
    ) -> Result<Self, StorageError> {
        let kind = membership.kind()?;
        let peer = if kind == ChatKind::Direct {
            find_peer(conn, scope, &membership).await?
        } else {
            None
        };
        let unread = count_unread(conn, scope, [&membership.read_upto(after)]).await?;
        Ok(Self {
            kind,
            unread: unread.into_values().sum(),
            shows_responsibility: shows_responsibility(&membership)?,
            membership,
            peer,
        })
    }
}

fn shows_responsibility(membership: &ChatMembership) -> Result<bool, StorageError> {
    let own = &membership.participant;
    Ok(participant_kind(own)?.is_staff() && own.left_seq.is_none())
}

/// Loads a chat that the member may read. To every other member there is no such chat.
async fn load_readable(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    member: MemberId,
    chat: ChatId,
) -> Result<Readable, Error> {
    let membership = find_membership(conn, scope, chat, member)
        .await?
        .ok_or(Error::UnknownChat(chat))?;
    readable(membership, 0)
}

/// `hidden` is the last sequence number that the session may not read.
fn readable(membership: ChatMembership, hidden: i64) -> Result<Readable, Error> {
    let upto = membership.readable_upto()?;
    Ok(Readable {
        after: membership.participant.visible_after.max(hidden),
        upto: upto.ok_or(Error::UnknownChat(membership.chat_id()))?,
        membership,
    })
}

/// Loads a chat in which the member participates now.
async fn load_present(
    conn: &impl ConnectionTrait,
    scope: &OrgScope,
    member: MemberId,
    chat: ChatId,
) -> Result<ChatMembership, Error> {
    let Readable { membership, .. } = load_readable(conn, scope, member, chat).await?;
    if membership.participant.left_seq.is_some() {
        return Err(Error::UnknownChat(chat));
    }
    Ok(membership)
}

/// Authorizes the caller and loads a chat that the caller may read, in one query.
pub(crate) async fn load_readable_at_once(
    context: &Context,
    conn: &impl ConnectionTrait,
    caller: &Caller,
    org: OrgId,
    chat: ChatId,
) -> Result<(OrgScope, Readable), Error> {
    let member = Roster::caller_member(caller, org)?;
    context.roster.require(org)?;
    // The query also returns the member's state, which is checked before anything else of the result is used.
    let scope = belongs(caller, org)?;
    let state = Roster::state_query(org, member);
    let found = find_membership_and_state(conn, &scope, chat, member, state).await?;
    let Some((membership, state)) = found else {
        // A caller outside the organization gets NOT_FOUND of the organization, not of the chat.
        context.reader(conn, caller, org).await?;
        return Err(Error::UnknownChat(chat));
    };
    let scope = active_scope(caller, org, Roster::found_state(state)?)?;
    let hidden = hidden_upto(conn, &scope, &membership, caller.reads_since).await?;
    Ok((scope, readable(membership, hidden)?))
}
