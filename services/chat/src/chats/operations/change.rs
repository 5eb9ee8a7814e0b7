use parta_access::{Caller, authorize};
use parta_ids::{ChatId, MemberId, OrgId, TypedId};
use parta_proto::parta::chat::v1 as pb;
use parta_storage::{Mutation, Tx};

use crate::{
    audience::{
        events,
        policy::{Diff, Seat},
    },
    chats::policy,
    context::App,
    entries::{
        model::ChatKind,
        storage::{self, ChatMembership},
    },
    error::Error,
    talk_policy::{may_talk, pair_key},
};

/// A chat that names people.
pub(crate) struct CreateChat {
    pub(crate) org_id: OrgId,
    pub(crate) title: String,
    pub(crate) member_ids: Vec<MemberId>,
}

fn object(org: OrgId, chat: ChatId) -> String {
    format!("organizations/{org}/chats/{chat}")
}

impl App {
    /// Makes a chat that names people.
    pub(crate) async fn create_chat(
        &self,
        caller: &Caller,
        mutation: &Mutation,
        create: CreateChat,
    ) -> Result<pb::CreateChatResponse, Error> {
        let create = &create;
        self.db
            .mutate(mutation, |tx| async move {
                events::lock_roster(&tx, create.org_id, false).await?;
                let facts = self.facts(&tx, caller, create.org_id).await?;
                let scope = authorize(caller, create.org_id, policy::name_people(&facts))?;
                let mut people = create.member_ids.clone();
                people.push(facts.member_id);
                people.sort();
                people.dedup();
                self.reach(&tx, &facts, &people, &[]).await?;
                let chat = events::create(&tx, &scope, ChatKind::Custom, None, None, &create.title).await?;
                let diff = Diff::joining(people, Seat { may_post: true });
                events::change(&tx, &self.live, &scope, chat, &diff).await?;
                parta_audit::record(&tx, caller, Some(create.org_id), object(create.org_id, chat)).await?;
                let standing = self.present(&tx, &scope, facts.member_id, chat).await?;
                Ok(pb::CreateChatResponse {
                    chat: Some(self.view(&tx, &scope, &standing).await?),
                    ..Default::default()
                })
            })
            .await
    }

    /// Opens the personal chat with another member; the one there is, if there is one.
    pub(crate) async fn create_direct(
        &self,
        caller: &Caller,
        mutation: &Mutation,
        (org, other): (OrgId, MemberId),
    ) -> Result<pb::CreateDirectChatResponse, Error> {
        self.db
            .mutate(mutation, |tx| async move {
                events::lock_roster(&tx, org, false).await?;
                let facts = self.facts(&tx, caller, org).await?;
                let scope = authorize(caller, org, policy::take_part(facts.state))?;
                let peer = self
                    .roster
                    .contexts_of(&tx, org, &[other])
                    .await?
                    .pop()
                    .ok_or(Error::UnknownMember(other))?;
                if !may_talk(&facts, &peer) {
                    return Err(Error::NotReachable(other));
                }
                let chat = self.direct_chat(&tx, &scope, facts.member_id, other).await?;
                parta_audit::record(&tx, caller, Some(org), object(org, chat)).await?;
                let standing = self.present(&tx, &scope, facts.member_id, chat).await?;
                let chat = Some(self.view(&tx, &scope, &standing).await?);
                Ok(pb::CreateDirectChatResponse {
                    chat,
                    ..Default::default()
                })
            })
            .await
    }

    /// The one chat of a pair, with both in it.
    async fn direct_chat(
        &self,
        tx: &Tx,
        scope: &parta_access::OrgScope,
        one: MemberId,
        other: MemberId,
    ) -> Result<ChatId, Error> {
        let key = pair_key(one, other);
        let chat = match storage::find_chat_by_key(tx, scope, &key).await? {
            Some(row) => ChatId::from_uuid(row.chat_id),
            None => events::create(tx, scope, ChatKind::Direct, None, Some(key), "").await?,
        };
        // Whoever left the organization and came back comes back into it; who is in it stays.
        let present = storage::seats(tx, scope, chat).await?;
        let pair = [one, other]
            .map(|member| (member, Seat { may_post: true }))
            .into();
        let diff = crate::audience::policy::difference(&present, &pair);
        if !diff.is_empty() {
            events::change(tx, &self.live, scope, chat, &diff).await?;
        }
        Ok(chat)
    }

    /// Adds people to a chat that names people.
    pub(crate) async fn add_participants(
        &self,
        caller: &Caller,
        mutation: &Mutation,
        org: OrgId,
        chat: ChatId,
        members: &[MemberId],
    ) -> Result<pb::AddParticipantsResponse, Error> {
        self.db
            .mutate(mutation, |tx| async move {
                events::lock_roster(&tx, org, false).await?;
                let facts = self.facts(&tx, caller, org).await?;
                let scope = authorize(caller, org, policy::take_part(facts.state))?;
                self.present(&tx, &scope, facts.member_id, chat).await?;
                let scope = authorize(caller, org, policy::name_people(&facts))?;
                let standing = self.named(&tx, &scope, facts.member_id, chat).await?;
                let there: Vec<_> = storage::seats(&tx, &scope, chat).await?.into_keys().collect();
                let new: Vec<_> = members.iter().filter(|m| !there.contains(m)).copied().collect();
                if there.len() + new.len() > crate::talk_policy::MAX_PARTICIPANTS {
                    return Err(Error::TooMany);
                }
                self.reach(&tx, &facts, &new, &there).await?;
                if !new.is_empty() {
                    let diff = Diff::joining(new, Seat { may_post: true });
                    events::change(&tx, &self.live, &scope, chat, &diff).await?;
                }
                parta_audit::record(&tx, caller, Some(org), object(org, standing.chat_id())).await?;
                let standing = self.present(&tx, &scope, facts.member_id, chat).await?;
                let chat = Some(self.view(&tx, &scope, &standing).await?);
                Ok(pb::AddParticipantsResponse {
                    chat,
                    ..Default::default()
                })
            })
            .await
    }

    /// Takes people out of a chat that names people.
    pub(crate) async fn remove_participants(
        &self,
        caller: &Caller,
        mutation: &Mutation,
        org: OrgId,
        chat: ChatId,
        members: &[MemberId],
    ) -> Result<pb::RemoveParticipantsResponse, Error> {
        self.db
            .mutate(mutation, |tx| async move {
                let facts = self.facts(&tx, caller, org).await?;
                let scope = authorize(caller, org, policy::take_part(facts.state))?;
                self.present(&tx, &scope, facts.member_id, chat).await?;
                let only_oneself = members.iter().all(|m| *m == facts.member_id);
                let scope = authorize(caller, org, policy::remove(&facts, only_oneself))?;
                self.named(&tx, &scope, facts.member_id, chat).await?;
                let diff = Diff::leaving(members.iter().copied());
                events::change(&tx, &self.live, &scope, chat, &diff).await?;
                parta_audit::record(&tx, caller, Some(org), object(org, chat)).await?;
                let (standing, _) = self.readable(&tx, &scope, facts.member_id, chat).await?;
                let chat = Some(self.view(&tx, &scope, &standing).await?);
                Ok(pb::RemoveParticipantsResponse {
                    chat,
                    ..Default::default()
                })
            })
            .await
    }

    /// A chat that names people, with its head locked: whoever is added or removed besides waits.
    async fn named(
        &self,
        tx: &Tx,
        scope: &parta_access::OrgScope,
        member: MemberId,
        chat: ChatId,
    ) -> Result<ChatMembership, Error> {
        storage::lock_head(tx, scope, chat)
            .await?
            .ok_or(Error::UnknownChat(chat))?;
        let standing = self.present(tx, scope, member, chat).await?;
        if standing.kind()? != ChatKind::Custom {
            return Err(Error::ParticipantsFixed(chat));
        }
        Ok(standing)
    }
}
