use std::collections::BTreeMap;

use parta_access::{OrgScope, belongs};
use parta_edge::Mutation;
use parta_ids::{ChatId, MemberId, OrgId, TypedId as _};
use parta_roster::MemberContext;

use super::{
    ChatView,
    mutations::{ChatOutcome, audit},
};
use crate::{
    context::{Context, Run},
    entries::{
        Beginning, ChatKind, ParticipantRights, apply_diff, create_chat, difference, direct_chat_key,
        find_chat_by_key, lock_roster, participants,
    },
    error::Error,
    talk_policy::may_talk,
};

/// The two members of a personal chat.
fn pair(people: [&MemberContext; 2]) -> BTreeMap<MemberId, ParticipantRights> {
    let pair = people.map(|facts| {
        (
            facts.member_id,
            ParticipantRights::new(facts, true).since(Beginning::WHOLE),
        )
    });
    pair.into()
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
