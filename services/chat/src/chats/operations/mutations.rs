use std::{collections::BTreeMap, future::Future};

use parta_access::{Caller, Decision, OrgScope, authorize};
use parta_database::Tx;
use parta_edge::{Mutation, Stored};
use parta_ids::{ChatId, MemberId, OrgId, TypedId};
use parta_roster::MemberContext;
use serde::{Deserialize, Serialize};

use super::{ChatView, load_present, load_readable};
use crate::{
    audience::{NamedAudience, decide_named, named_audience},
    chats::{model::MAX_PARTICIPANTS, policy},
    context::{Context, Run},
    entries::{
        ChatKind, ParticipantRights, Responsibility, apply_diff, chat, create_chat, difference, find_chat,
        kind_of, lock_chat, lock_roster, participants, responsibility_of,
    },
    error::Error,
    talk_policy::{are_kept_apart, may_name, must_leave, named_chat},
};

/// The stored outcome of an act that creates or finds a chat.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct ChatOutcome {
    pub(super) chat_id: ChatId,
}

impl Stored for ChatOutcome {}

/// The facts of the caller and the scope of the act.
pub(crate) struct Grant {
    scope: OrgScope,
    facts: MemberContext,
}

pub(super) async fn audit(tx: &Tx, caller: &Caller, org: OrgId, chat: ChatId) -> Result<(), Error> {
    Ok(parta_audit::record_within(tx, caller, org, format!("chats/{chat}")).await?)
}

/// Creates a custom chat. The caller participates in it and is responsible for it.
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
        let own = Responsibility {
            member: Some(facts.member_id),
            ..Responsibility::default()
        };
        let audience = named_audience(&people, own);
        if !audience.is_led {
            return Err(Error::not_cleared(facts.member_id));
        }
        let chat_id = create_chat(tx, scope, ChatKind::Custom, None, None, &self.title).await?;
        let mut diff = difference(&BTreeMap::new(), &audience.participants);
        diff.responsibility = Some(audience.responsibility);
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

/// A custom chat whose row is locked.
pub(crate) struct CustomChat {
    row: chat::Model,
    present: BTreeMap<MemberId, ParticipantRights>,
}

/// A change of the participants of a custom chat or of its responsible member.
pub(crate) trait ChatChange: Send + Sync {
    /// Whether the change may take the right to it from the caller. A repetition then returns the result as
    /// long as the caller may read the chat up to the leaving.
    const MAY_TAKE_RIGHT: bool;

    /// The members whom the change removes; `None` if it removes nobody whom it names.
    fn removed(&self) -> Option<&[MemberId]> {
        None
    }

    /// Returns the audience of the chat after the change, or refuses the change.
    fn audience(
        &self,
        run: Run<'_>,
        grant: &Grant,
        chat: &CustomChat,
    ) -> impl Future<Output = Result<NamedAudience, Error>> + Send;
}

/// Changes a custom chat.
pub(crate) struct ChangeChat<C> {
    pub(crate) org_id: OrgId,
    pub(crate) chat_id: ChatId,
    pub(crate) change: C,
}

impl<C: ChatChange> Mutation for ChangeChat<C> {
    type Context = Context;
    type Grant = Grant;
    type Outcome = ();
    /// `None` for a member of the administration who never took part.
    type View = Option<ChatView>;
    type Error = Error;

    async fn authorize(&self, run: Run<'_>) -> Result<Grant, Error> {
        authorize_choice(run, (self.org_id, self.chat_id), self.change.removed()).await
    }

    async fn act(&self, run: Run<'_>, grant: &Grant) -> Result<(), Error> {
        let Run { context, tx, caller } = run;
        let Grant { scope, facts } = grant;
        let row = lock_custom_chat(tx, scope, facts, self.chat_id).await?;
        let decision = decide(facts, is_responsible(facts, &row), self.change.removed());
        authorize(caller, self.org_id, decision)?;
        let present = participants(tx, scope, self.chat_id).await?;
        let chat = CustomChat { row, present };
        let audience = self.change.audience(run, grant, &chat).await?;
        apply(context, tx, scope, &chat, audience).await?;
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

    async fn regrant(&self, run: Run<'_>, (): &()) -> Result<Grant, Error> {
        if C::MAY_TAKE_RIGHT {
            authorize_repetition(run, (self.org_id, self.chat_id), self.change.removed()).await
        } else {
            self.authorize(run).await
        }
    }

    fn repeated(&self, context: &Context) {
        context.sink.compare_organization(self.org_id);
    }
}

/// Adds participants. A present participant stays.
pub(crate) struct AddParticipants {
    pub(crate) member_ids: Vec<MemberId>,
}

impl ChatChange for AddParticipants {
    const MAY_TAKE_RIGHT: bool = false;

    async fn audience(
        &self,
        Run { context, tx, .. }: Run<'_>,
        Grant { facts, .. }: &Grant,
        CustomChat { row, present }: &CustomChat,
    ) -> Result<NamedAudience, Error> {
        let chat_id = ChatId::from_uuid(row.chat_id);
        if self.member_ids.contains(&facts.member_id) && !present.contains_key(&facts.member_id) {
            return Err(Error::second_person_required());
        }
        if row.unsupervised || row.responsible_id.is_none() {
            // Nothing else changes in a read-only chat while nobody is responsible (F17).
            return Err(Error::unsupervised(chat_id));
        }
        let people = check_named(context, tx, facts, present, &self.member_ids).await?;
        let had = responsibility_of(row);
        let audience = named_audience(&people, had);
        if audience.responsibility.member != had.member || !audience.is_led {
            // The responsible member has no ground toward one of them.
            let first = self
                .member_ids
                .iter()
                .find(|member| !present.contains_key(member));
            return Err(first.map_or_else(|| Error::unsupervised(chat_id), |m| Error::not_reachable(*m)));
        }
        Ok(audience)
    }
}

/// Names the responsible member and the deputy, who join the chat if they are not in it. The caller may pass
/// the responsibility on, and have left the chat since.
pub(crate) struct TransferResponsibility {
    pub(crate) responsible_id: MemberId,
    pub(crate) deputy_id: Option<MemberId>,
}

impl ChatChange for TransferResponsibility {
    const MAY_TAKE_RIGHT: bool = true;

    async fn audience(
        &self,
        Run { context, tx, .. }: Run<'_>,
        Grant { facts, .. }: &Grant,
        CustomChat { row, present }: &CustomChat,
    ) -> Result<NamedAudience, Error> {
        let named: Vec<_> = [self.responsible_id].into_iter().chain(self.deputy_id).collect();
        if named.contains(&facts.member_id) && !is_responsible(facts, row) {
            return Err(Error::second_person_required());
        }
        let people = check_named(context, tx, facts, present, &named).await?;
        let may_lead = named_chat(&people).may_lead;
        if let Some(member) = named.iter().find(|member| !may_lead.contains_key(member)) {
            return Err(Error::not_cleared(*member));
        }
        let wanted = Responsibility {
            member: Some(self.responsible_id),
            deputy: self.deputy_id,
            unit: None,
        };
        Ok(named_audience(&people, wanted))
    }
}

/// Removes participants, and those who may not be in the chat without them. A member who does not participate
/// is passed over. The caller may leave the chat, also as one of those who leave with the removed members.
pub(crate) struct RemoveParticipants {
    pub(crate) member_ids: Vec<MemberId>,
}

impl ChatChange for RemoveParticipants {
    const MAY_TAKE_RIGHT: bool = true;

    fn removed(&self) -> Option<&[MemberId]> {
        Some(&self.member_ids)
    }

    async fn audience(
        &self,
        Run { context, tx, .. }: Run<'_>,
        Grant { scope, facts }: &Grant,
        CustomChat { row, present }: &CustomChat,
    ) -> Result<NamedAudience, Error> {
        let staying = present.keys().filter(|m| !self.member_ids.contains(m));
        let staying: Vec<_> = staying.copied().collect();
        let had = responsibility_of(row);
        let is_removed =
            |member: MemberId| present.contains_key(&member) && self.member_ids.contains(&member);
        if had.member.is_some_and(is_removed) && !staying.is_empty() {
            return Err(Error::responsible_required(ChatId::from_uuid(row.chat_id)));
        }
        let people = context.roster.contexts_of(tx, facts.org_id, &staying).await?;
        // Those leave too who were in the chat under the responsibility of one of these members (F14).
        Ok(decide_named(&context.roster, tx, scope, &people, had, &self.member_ids).await?)
    }
}

/// Whether the caller chooses the participants of the chat as far as the chat decides it. The roster chooses
/// those of other chats than custom ones, and the acts refuse these for everybody of the staff alike.
fn is_responsible(facts: &MemberContext, row: &chat::Model) -> bool {
    row.kind != ChatKind::Custom as i16 || row.responsible_id == Some(facts.member_id.uuid())
}

/// Decides whether the caller may change a chat. `removed` are the members whom the change removes; `None` if
/// it removes nobody whom it names.
fn decide(facts: &MemberContext, is_responsible: bool, removed: Option<&[MemberId]>) -> Decision {
    let Some(removed) = removed else {
        return policy::choose_people(facts, is_responsible);
    };
    let is_only_oneself = removed.iter().all(|member| *member == facts.member_id);
    policy::remove(facts, is_responsible, is_only_oneself)
}

/// Finds a chat in which the caller participates, and for the administration every custom chat: it chooses
/// the participants without taking part and does not read the chat (F14).
async fn find_chosen_chat(
    tx: &Tx,
    scope: &OrgScope,
    facts: &MemberContext,
    chat: ChatId,
) -> Result<chat::Model, Error> {
    match load_present(tx, scope, facts.member_id, chat).await {
        Err(Error::UnknownChat(chat)) => {
            let is_chosen =
                |row: &chat::Model| facts.is_administration() && row.kind == ChatKind::Custom as i16;
            let row = find_chat(tx, scope, chat).await?;
            row.filter(is_chosen).ok_or(Error::UnknownChat(chat))
        }
        present => Ok(present?.chat),
    }
}

/// Authorizes a caller who chooses the participants of a chat; `removed` as in [`decide`].
async fn authorize_choice(
    run: Run<'_>,
    (org, chat): (OrgId, ChatId),
    removed: Option<&[MemberId]>,
) -> Result<Grant, Error> {
    let Run { context, tx, caller } = run;
    lock_roster(tx, org, false).await?;
    let (scope, _) = context.reader(tx, caller, org).await?;
    let facts = context.roster.caller_context(tx, caller, org).await?;
    let row = find_chosen_chat(tx, &scope, &facts, chat).await?;
    let scope = authorize(caller, org, decide(&facts, is_responsible(&facts, &row), removed))?;
    Ok(Grant { scope, facts })
}

/// Authorizes the repetition of an act that may have taken the right to it from the caller, who was
/// responsible for the chat or has left it: by the roles of the caller, who must be able to read the chat.
async fn authorize_repetition(
    run: Run<'_>,
    (org, chat): (OrgId, ChatId),
    removed: Option<&[MemberId]>,
) -> Result<Grant, Error> {
    let Run { context, tx, caller } = run;
    let facts = context.roster.caller_context(tx, caller, org).await?;
    let scope = authorize(caller, org, decide(&facts, true, removed))?;
    if let Err(Error::UnknownChat(_)) = load_readable(tx, &scope, facts.member_id, chat).await {
        find_chosen_chat(tx, &scope, &facts, chat).await?;
    }
    Ok(Grant { scope, facts })
}

/// Locks a custom chat, so that nobody else changes its participants until the commit. The caller must still
/// participate or be of the administration.
async fn lock_custom_chat(
    tx: &Tx,
    scope: &OrgScope,
    facts: &MemberContext,
    chat: ChatId,
) -> Result<chat::Model, Error> {
    let row = lock_chat(tx, scope, chat)
        .await?
        .ok_or(Error::UnknownChat(chat))?;
    find_chosen_chat(tx, scope, facts, chat).await?;
    if kind_of(&row)? != ChatKind::Custom {
        return Err(Error::participants_fixed(chat));
    }
    Ok(row)
}

/// Changes a locked custom chat to this audience.
async fn apply(
    context: &Context,
    tx: &Tx,
    scope: &OrgScope,
    CustomChat { row, present }: &CustomChat,
    audience: NamedAudience,
) -> Result<(), Error> {
    let mut diff = difference(present, &audience.participants);
    diff.responsibility = Some(audience.responsibility).filter(|new| *new != responsibility_of(row));
    if !diff.is_empty() {
        let chat = (ChatId::from_uuid(row.chat_id), ChatKind::Custom);
        apply_diff(tx, &*context.sink, scope, chat, &diff).await?;
    }
    Ok(())
}

/// Checks that the caller may name those of these members who are not in the chat, and that all may be in it
/// with the present ones. Returns the facts about all of them.
async fn check_named(
    context: &Context,
    tx: &Tx,
    facts: &MemberContext,
    present: &BTreeMap<MemberId, ParticipantRights>,
    named: &[MemberId],
) -> Result<Vec<MemberContext>, Error> {
    let named = named.iter().filter(|member| !present.contains_key(member));
    let named: Vec<_> = named.copied().collect();
    if present.len() + named.len() > MAX_PARTICIPANTS {
        return Err(Error::too_many_participants());
    }
    let others: Vec<_> = present.keys().copied().collect();
    check_reachable(context, tx, facts, &named, &others).await
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
