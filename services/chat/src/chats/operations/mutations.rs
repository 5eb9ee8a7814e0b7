use std::collections::BTreeMap;

use parta_access::{Caller, OrgScope, authorize, belongs};
use parta_database::Tx;
use parta_edge::{Mutation, Stored};
use parta_ids::{ChatId, MemberId, OrgId, TypedId};
use parta_roster::MemberContext;
use serde::{Deserialize, Serialize};

use super::{ChatView, load_present, load_readable};
use crate::{
    audience::named_participants,
    chats::{model::MAX_PARTICIPANTS, policy},
    context::{Context, Run},
    entries::{
        ChatKind, ParticipantKind, Participation, apply_diff, chat, create_chat, difference, direct_chat_key,
        find_chat, find_chat_by_key, kind_of, lock_chat, lock_roster, participants,
    },
    error::Error,
    talk_policy::{are_kept_apart, may_name, may_talk, must_leave},
};

/// The stored outcome of an act that creates or finds a chat.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct ChatOutcome {
    chat_id: ChatId,
}

impl Stored for ChatOutcome {}

/// The facts of the caller and the scope of the act.
pub(crate) struct Grant {
    scope: OrgScope,
    facts: MemberContext,
}

/// The two members of a personal chat.
fn pair(people: [&MemberContext; 2]) -> BTreeMap<MemberId, Participation> {
    let pair = people.map(|facts| (facts.member_id, Participation::new(facts, true)));
    pair.into()
}

async fn audit(tx: &Tx, caller: &Caller, org: OrgId, chat: ChatId) -> Result<(), Error> {
    Ok(parta_audit::record_within(tx, caller, org, format!("chats/{chat}")).await?)
}

/// Creates a custom chat. The caller participates in it.
pub(crate) struct CreateChat {
    pub(crate) org_id: OrgId,
    pub(crate) title: String,
    pub(crate) member_ids: Vec<MemberId>,
}

impl Mutation for CreateChat {
    type Context = Context;
    type Grant = Grant;
    type Outcome = ChatOutcome;
    type View = ChatView;
    type Error = Error;

    async fn authorize(&self, run: Run<'_>) -> Result<Grant, Error> {
        let Run { context, tx, caller } = run;
        lock_roster(tx, self.org_id, false).await?;
        let facts = context.roster.caller_context(tx, caller, self.org_id).await?;
        let scope = authorize(caller, self.org_id, policy::name_people(&facts))?;
        Ok(Grant { scope, facts })
    }

    async fn act(&self, run: Run<'_>, Grant { scope, facts }: &Grant) -> Result<ChatOutcome, Error> {
        let Run { context, tx, caller } = run;
        let mut people = self.member_ids.clone();
        people.push(facts.member_id);
        people.sort();
        people.dedup();
        let people = check_reachable(context, tx, facts, &people, &[]).await?;
        let chat_id = create_chat(tx, scope, ChatKind::Custom, None, None, &self.title).await?;
        let diff = difference(&BTreeMap::new(), &named_participants(&people));
        apply_diff(tx, &*context.sink, scope, (chat_id, ChatKind::Custom), &diff).await?;
        audit(tx, caller, self.org_id, chat_id).await?;
        Ok(ChatOutcome { chat_id })
    }

    async fn view(
        &self,
        run: Run<'_>,
        Grant { scope, facts }: &Grant,
        outcome: &ChatOutcome,
    ) -> Result<ChatView, Error> {
        ChatView::load(run.tx, scope, facts.member_id, outcome.chat_id).await
    }

    fn repeated(&self, context: &Context) {
        context.sink.compare_organization(self.org_id);
    }
}

/// The facts of the two members of a personal chat and the scope of the act.
pub(crate) struct PairGrant {
    scope: OrgScope,
    facts: MemberContext,
    peer: MemberContext,
}

/// Opens the personal chat of the caller and another member. A pair has one chat; an existing one is
/// returned.
pub(crate) struct CreateDirectChat {
    pub(crate) org_id: OrgId,
    pub(crate) member_id: MemberId,
}

impl Mutation for CreateDirectChat {
    type Context = Context;
    type Grant = PairGrant;
    type Outcome = ChatOutcome;
    type View = ChatView;
    type Error = Error;

    async fn authorize(&self, run: Run<'_>) -> Result<PairGrant, Error> {
        let Run { context, tx, caller } = run;
        lock_roster(tx, self.org_id, false).await?;
        let facts = context.roster.caller_context(tx, caller, self.org_id).await?;
        let peer = context
            .roster
            .contexts_of(tx, self.org_id, &[self.member_id])
            .await?
            .pop();
        let peer = peer.ok_or_else(|| Error::unknown_member(self.member_id))?;
        if !facts.may_contact(&peer) {
            return Err(Error::relation_limited(self.member_id));
        }
        if !may_talk(&facts, &peer) {
            return Err(Error::not_reachable(self.member_id));
        }
        let scope = belongs(caller, self.org_id)?;
        Ok(PairGrant { scope, facts, peer })
    }

    async fn act(
        &self,
        run: Run<'_>,
        PairGrant { scope, facts, peer }: &PairGrant,
    ) -> Result<ChatOutcome, Error> {
        let Run { context, tx, caller } = run;
        let key = direct_chat_key(facts.member_id, self.member_id);
        let chat_id = match find_chat_by_key(tx, scope, &key).await? {
            Some(row) => ChatId::from_uuid(row.chat_id),
            None => create_chat(tx, scope, ChatKind::Direct, None, Some(key), "").await?,
        };
        // A member who left the organization and returned joins again.
        let present = participants(tx, scope, chat_id).await?;
        let diff = difference(&present, &pair([facts, peer]));
        if !diff.is_empty() {
            apply_diff(tx, &*context.sink, scope, (chat_id, ChatKind::Direct), &diff).await?;
        }
        audit(tx, caller, self.org_id, chat_id).await?;
        Ok(ChatOutcome { chat_id })
    }

    async fn view(
        &self,
        run: Run<'_>,
        PairGrant { scope, facts, .. }: &PairGrant,
        outcome: &ChatOutcome,
    ) -> Result<ChatView, Error> {
        ChatView::load(run.tx, scope, facts.member_id, outcome.chat_id).await
    }

    fn repeated(&self, context: &Context) {
        context.sink.compare_organization(self.org_id);
    }
}

/// Adds participants to a custom chat. A present participant stays.
pub(crate) struct AddParticipants {
    pub(crate) org_id: OrgId,
    pub(crate) chat_id: ChatId,
    pub(crate) member_ids: Vec<MemberId>,
}

impl Mutation for AddParticipants {
    type Context = Context;
    type Grant = Grant;
    type Outcome = ();
    /// `None` for an administrator who does not take part.
    type View = Option<ChatView>;
    type Error = Error;

    async fn authorize(&self, run: Run<'_>) -> Result<Grant, Error> {
        let Run { context, tx, caller } = run;
        lock_roster(tx, self.org_id, false).await?;
        let (scope, member) = context.reader(tx, caller, self.org_id).await?;
        let facts = context.roster.caller_context(tx, caller, self.org_id).await?;
        match load_present(tx, &scope, member, self.chat_id).await {
            Err(Error::UnknownChat(chat)) => {
                // The administration names an adult in a chat without one, and does not read it (F14).
                let row = find_chat(tx, &scope, chat).await?;
                row.filter(|row| may_appoint(&facts, row))
                    .ok_or(Error::UnknownChat(chat))?;
            }
            present => _ = present?,
        }
        let scope = authorize(caller, self.org_id, policy::name_people(&facts))?;
        Ok(Grant { scope, facts })
    }

    async fn act(&self, run: Run<'_>, Grant { scope, facts }: &Grant) -> Result<(), Error> {
        let Run { context, tx, caller } = run;
        let row = lock_custom_chat(tx, scope, facts, self.chat_id).await?;
        let present = participants(tx, scope, self.chat_id).await?;
        if self.member_ids.contains(&facts.member_id) && !present.contains_key(&facts.member_id) {
            return Err(Error::second_person_required());
        }
        let named = self.member_ids.iter().filter(|m| !present.contains_key(m));
        let named: Vec<_> = named.copied().collect();
        if present.len() + named.len() > MAX_PARTICIPANTS {
            return Err(Error::too_many_participants());
        }
        let others: Vec<_> = present.keys().copied().collect();
        let people = check_reachable(context, tx, facts, &named, &others).await?;
        let wanted = named_participants(&people);
        let is_responsible = |rights: &Participation| rights.kind == ParticipantKind::ClearedStaff;
        if row.unsupervised && !wanted.values().any(is_responsible) {
            // Nothing else changes in a read-only chat (F17).
            return Err(Error::unsupervised(self.chat_id));
        }
        let diff = difference(&present, &wanted);
        if !diff.is_empty() {
            apply_diff(tx, &*context.sink, scope, (self.chat_id, ChatKind::Custom), &diff).await?;
        }
        audit(tx, caller, self.org_id, self.chat_id).await
    }

    async fn view(
        &self,
        run: Run<'_>,
        Grant { scope, facts }: &Grant,
        (): &(),
    ) -> Result<Option<ChatView>, Error> {
        match ChatView::load(run.tx, scope, facts.member_id, self.chat_id).await {
            Err(Error::UnknownChat(_)) => Ok(None),
            view => Ok(Some(view?)),
        }
    }

    fn repeated(&self, context: &Context) {
        context.sink.compare_organization(self.org_id);
    }
}

/// Removes participants from a custom chat, and those who may not be in it without them. A member who does
/// not participate is passed over.
pub(crate) struct RemoveParticipants {
    pub(crate) org_id: OrgId,
    pub(crate) chat_id: ChatId,
    pub(crate) member_ids: Vec<MemberId>,
}

impl RemoveParticipants {
    fn grant(&self, caller: &Caller, facts: MemberContext) -> Result<Grant, Error> {
        let only_oneself = self.member_ids.iter().all(|m| *m == facts.member_id);
        let scope = authorize(caller, self.org_id, policy::remove(&facts, only_oneself))?;
        Ok(Grant { scope, facts })
    }
}

impl Mutation for RemoveParticipants {
    type Context = Context;
    type Grant = Grant;
    type Outcome = ();
    type View = ChatView;
    type Error = Error;

    async fn authorize(&self, run: Run<'_>) -> Result<Grant, Error> {
        let Run { context, tx, caller } = run;
        lock_roster(tx, self.org_id, false).await?;
        let (scope, member) = context.reader(tx, caller, self.org_id).await?;
        load_present(tx, &scope, member, self.chat_id).await?;
        let facts = context.roster.caller_context(tx, caller, self.org_id).await?;
        self.grant(caller, facts)
    }

    async fn act(&self, run: Run<'_>, Grant { scope, facts }: &Grant) -> Result<(), Error> {
        let Run { context, tx, caller } = run;
        lock_custom_chat(tx, scope, facts, self.chat_id).await?;
        load_present(tx, scope, facts.member_id, self.chat_id).await?;
        let present = participants(tx, scope, self.chat_id).await?;
        let staying = present.keys().filter(|m| !self.member_ids.contains(m));
        let staying: Vec<_> = staying.copied().collect();
        let people = context.roster.contexts_of(tx, self.org_id, &staying).await?;
        // Those leave too who were in the chat under the responsibility of one of these members (F14).
        let diff = difference(&present, &named_participants(&people));
        if !diff.is_empty() {
            apply_diff(tx, &*context.sink, scope, (self.chat_id, ChatKind::Custom), &diff).await?;
        }
        audit(tx, caller, self.org_id, self.chat_id).await
    }

    async fn view(&self, run: Run<'_>, Grant { scope, facts }: &Grant, (): &()) -> Result<ChatView, Error> {
        ChatView::load(run.tx, scope, facts.member_id, self.chat_id).await
    }

    /// A caller who left by this act, also as one of those who leave with the removed members, gets the
    /// result as long as the caller may read the chat up to the leaving.
    async fn regrant(&self, run: Run<'_>, (): &()) -> Result<Grant, Error> {
        let Run { context, tx, caller } = run;
        let facts = context.roster.caller_context(tx, caller, self.org_id).await?;
        let grant = self.grant(caller, facts)?;
        load_readable(tx, &grant.scope, grant.facts.member_id, self.chat_id).await?;
        Ok(grant)
    }

    fn repeated(&self, context: &Context) {
        context.sink.compare_organization(self.org_id);
    }
}

/// Whether the caller may name an adult in a chat of others, because pupils are alone in it.
fn may_appoint(facts: &MemberContext, row: &chat::Model) -> bool {
    facts.is_administration() && row.unsupervised && row.archive_time.is_none()
}

/// Locks a custom chat, so that nobody else changes its participants until the commit. The caller must still
/// participate, or be allowed to appoint an adult.
async fn lock_custom_chat(
    tx: &Tx,
    scope: &OrgScope,
    facts: &MemberContext,
    chat: ChatId,
) -> Result<chat::Model, Error> {
    let row = lock_chat(tx, scope, chat)
        .await?
        .ok_or(Error::UnknownChat(chat))?;
    if !may_appoint(facts, &row) {
        load_present(tx, scope, facts.member_id, chat).await?;
    }
    if kind_of(&row)? != ChatKind::Custom {
        return Err(Error::participants_fixed(chat));
    }
    Ok(row)
}

/// Checks that the staff member may name each of these members, and that all of them may be in one chat with
/// `others`. Returns the facts about all of them.
async fn check_reachable(
    context: &Context,
    tx: &Tx,
    staff: &MemberContext,
    named: &[MemberId],
    others: &[MemberId],
) -> Result<Vec<MemberContext>, Error> {
    let known = context.roster.contexts_of(tx, staff.org_id, named).await?;
    for member in named {
        let facts = known
            .iter()
            .find(|f| f.member_id == *member)
            .ok_or_else(|| Error::unknown_member(*member))?;
        if are_kept_apart(staff, facts) {
            return Err(Error::relation_limited(*member));
        }
        if !may_name(staff, facts) {
            return Err(Error::not_reachable(*member));
        }
    }
    let mut together = context.roster.contexts_of(tx, staff.org_id, others).await?;
    together.extend(known);
    // Others than the administration learn of no limit between two other people.
    for one in together.iter().filter(|_| staff.is_administration()) {
        if let Some(other) = together.iter().find(|other| are_kept_apart(one, other)) {
            return Err(Error::relation_limited(other.member_id));
        }
    }
    match must_leave(&together).first() {
        // A present participant may be the one who would have to leave; the new one is refused nevertheless.
        Some(member) => Err(Error::not_reachable(*member)),
        None => Ok(together),
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn outcome_has_its_golden_form() {
        let outcome = ChatOutcome {
            chat_id: ChatId::from_uuid(Uuid::from_u128(7)),
        };
        let stored = outcome.encode().unwrap();
        let golden = format!("\u{1}{{\"chat_id\":\"{}\"}}", outcome.chat_id);
        assert_eq!(String::from_utf8(stored.clone()).unwrap(), golden);
        assert_eq!(ChatOutcome::decode(&stored).unwrap(), outcome);
    }
}
