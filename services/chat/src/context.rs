//! What chat does: authorize, load, decide, save, emit.
use std::sync::Arc;

use parta_access::{Caller, Decision, OrgScope, authorize};
use parta_feed::AtLeast;
use parta_ids::{ChatId, MemberId, OrgId};
use parta_roster::{MemberContext, Roster};
use parta_status::{RpcError, not_found};
use parta_storage::{Db, Tx};
use sea_orm::ConnectionTrait;

use crate::{
    chats::policy,
    entries::storage::{self, ChatMembership},
    error::Error,
    live::Live,
    messages::writer::Writer,
    quarantined::Quarantined,
    talk_policy::{may_name, must_leave},
};

/// The service with what it works on. Cheap to clone.
#[derive(Clone)]
pub(crate) struct App {
    pub(crate) db: Db,
    pub(crate) roster: Roster,
    pub(crate) writer: Writer,
    pub(crate) live: Live,
    pub(crate) at_least: AtLeast,
    pub(crate) quarantined: Arc<Quarantined>,
}

/// The organization and member in whose name a call is made, which must be of the organization asked for.
pub(crate) fn member_of(caller: &Caller, org: OrgId) -> Result<MemberId, RpcError> {
    match caller.person() {
        Some((own, member)) if own == org => Ok(member),
        _ => Err(not_found("organization", org)),
    }
}

impl App {
    /// What the roster knows of the calling person; from outside the organization there is no such organization.
    pub(crate) async fn facts(
        &self,
        conn: &impl ConnectionTrait,
        caller: &Caller,
        org: OrgId,
    ) -> Result<MemberContext, RpcError> {
        let member = member_of(caller, org)?;
        self.roster
            .facts(conn, org, member)
            .await?
            .ok_or_else(|| not_found("organization", org))
    }

    /// The scope of a person who takes part, and who that is: one row by its key, for what is done all day.
    pub(crate) async fn reader(
        &self,
        conn: &impl ConnectionTrait,
        caller: &Caller,
        org: OrgId,
    ) -> Result<(OrgScope, MemberId), RpcError> {
        let member = member_of(caller, org)?;
        self.quarantined.require(&self.roster, org)?;
        let state = self.roster.state(conn, org, member).await?;
        let state = state.ok_or_else(|| not_found("organization", org))?;
        Ok((authorize(caller, org, policy::take_part(state))?, member))
    }

    /// A chat that the person may read; to everybody else there is none.
    pub(crate) async fn readable(
        &self,
        conn: &impl ConnectionTrait,
        scope: &OrgScope,
        member: MemberId,
        chat: ChatId,
    ) -> Result<(ChatMembership, i64), Error> {
        let standing = storage::find_standing(conn, scope, chat, member)
            .await?
            .ok_or(Error::UnknownChat(chat))?;
        let upto = standing.readable_upto()?.ok_or(Error::UnknownChat(chat))?;
        Ok((standing, upto))
    }

    /// A chat that the person may read, with the last place they may read up to. One query.
    pub(crate) async fn reading(
        &self,
        conn: &impl ConnectionTrait,
        caller: &Caller,
        org: OrgId,
        chat: ChatId,
    ) -> Result<(OrgScope, ChatMembership, i64), Error> {
        let member = member_of(caller, org)?;
        self.quarantined.require(&self.roster, org)?;
        // Nothing that this finds is told before the member's state, which comes along, was judged.
        let scope = authorize(caller, org, Decision::Allow)?;
        let state = Roster::state_query(org, member);
        let found = storage::find_standing_and_state(conn, &scope, chat, member, state).await?;
        let Some((standing, state)) = found else {
            // First whether there is such an organization for the caller at all.
            self.reader(conn, caller, org).await?;
            return Err(Error::UnknownChat(chat));
        };
        let state = Roster::found_state(state).ok_or_else(|| not_found("organization", org))?;
        let scope = authorize(caller, org, policy::take_part(state))?;
        let upto = standing.readable_upto()?.ok_or(Error::UnknownChat(chat))?;
        Ok((scope, standing, upto))
    }

    /// A chat that the person is in now.
    pub(crate) async fn present(
        &self,
        conn: &impl ConnectionTrait,
        scope: &OrgScope,
        member: MemberId,
        chat: ChatId,
    ) -> Result<ChatMembership, Error> {
        let (standing, _) = self.readable(conn, scope, member, chat).await?;
        if standing.seat.left_seq.is_some() {
            Err(Error::UnknownChat(chat))
        } else {
            Ok(standing)
        }
    }

    /// The facts of people who are to be named, each of whom the staff must be able to reach; `others` are in the room.
    pub(crate) async fn reach(
        &self,
        tx: &Tx,
        staff: &MemberContext,
        named: &[MemberId],
        others: &[MemberId],
    ) -> Result<(), Error> {
        let known = self.roster.contexts_of(tx, staff.org_id, named).await?;
        for member in named {
            let facts = known
                .iter()
                .find(|f| f.member_id == *member)
                .ok_or(Error::UnknownMember(*member))?;
            if !may_name(staff, facts) {
                return Err(Error::NotReachable(*member));
            }
        }
        let mut room = self.roster.contexts_of(tx, staff.org_id, others).await?;
        room.extend(known);
        match must_leave(&room).first() {
            // The newcomer is not to blame for whoever has to go, but brings it about.
            Some(member) => Err(Error::NotReachable(*member)),
            None => Ok(()),
        }
    }
}
