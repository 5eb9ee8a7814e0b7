use std::collections::BTreeSet;

use parta_access::authorize;
use parta_database::StorageError;
use parta_edge::{Page, PageRequest, Query, Read};
use parta_ids::{ChatId, MemberId, OrgId, TypedId};

use super::{ChatView, load_present, load_readable_at_once, shows_responsibility};
use crate::{
    chats::policy,
    context::{Context, Run},
    entries::{
        ChatKind, ChatMembership, chat, count_unread, find_peers, hidden_upto, kind_of,
        list_memberships_page, list_participants, list_unsupervised, participant,
    },
    error::Error,
};

/// Returns one chat of the caller.
pub(crate) struct GetChat {
    pub(crate) org_id: OrgId,
    pub(crate) chat_id: ChatId,
}

impl Query for GetChat {
    type Context = Context;
    type View = ChatView;
    type Error = Error;

    async fn run(&self, run: Run<'_>) -> Result<Read<ChatView>, Error> {
        let Run { context, tx, caller } = run;
        let (scope, readable) = load_readable_at_once(context, tx, caller, self.org_id, self.chat_id).await?;
        let view = ChatView::of(tx, &scope, readable.membership, readable.after).await?;
        Ok(Read::plain(view))
    }
}

/// Lists the chats in which the caller participates, the newest first.
pub(crate) struct ListChats {
    pub(crate) org_id: OrgId,
    pub(crate) page: PageRequest,
}

impl Query for ListChats {
    type Context = Context;
    type View = Page<ChatView>;
    type Error = Error;

    async fn run(&self, run: Run<'_>) -> Result<Read<Self::View>, Error> {
        let Run { context, tx, caller } = run;
        let (scope, member) = context.reader(tx, caller, self.org_id).await?;
        let before: Option<ChatId> = self.page.after(tx, caller)?;
        let rows = list_memberships_page(tx, &scope, member, before, self.page.limit()).await?;
        let page = self.page.page(tx, caller, rows, ChatMembership::chat_id);
        let peers = find_peers(tx, &scope, member, &page.items).await?;
        let unread = if caller.reads_since.is_some() {
            let mut shown = Vec::with_capacity(page.items.len());
            for membership in &page.items {
                let hidden = hidden_upto(tx, &scope, membership, caller.reads_since).await?;
                shown.push(membership.read_upto(hidden));
            }
            count_unread(tx, &scope, &shown).await?
        } else {
            count_unread(tx, &scope, &page.items).await?
        };
        let view = |membership: ChatMembership| {
            Ok::<_, StorageError>(ChatView {
                kind: membership.kind()?,
                shows_responsibility: shows_responsibility(&membership)?,
                peer: peers.get(&membership.chat_id()).copied(),
                unread: unread.get(&membership.chat_id()).copied().unwrap_or_default(),
                membership,
            })
        };
        Ok(Read::plain(page.try_map(view)?))
    }
}

/// A chat that is read-only for want of a responsible adult, as the administration sees it.
pub(crate) struct UnsupervisedChat {
    pub(crate) kind: ChatKind,
    pub(crate) chat: chat::Model,
}

/// Lists the chats that are read-only, because pupils would be left alone in them or nobody is responsible
/// for them.
pub(crate) struct ListUnsupervisedChats {
    pub(crate) org_id: OrgId,
    pub(crate) page: PageRequest,
}

impl Query for ListUnsupervisedChats {
    type Context = Context;
    type View = Page<UnsupervisedChat>;
    type Error = Error;

    async fn run(&self, run: Run<'_>) -> Result<Read<Self::View>, Error> {
        let Run { context, tx, caller } = run;
        let facts = context.roster.caller_context(tx, caller, self.org_id).await?;
        let scope = authorize(caller, self.org_id, policy::list_unsupervised(&facts))?;
        let after: Option<ChatId> = self.page.after(tx, caller)?;
        let rows = list_unsupervised(tx, &scope, after, self.page.limit()).await?;
        let page = self
            .page
            .page(tx, caller, rows, |row| ChatId::from_uuid(row.chat_id));
        let view = |chat: chat::Model| {
            Ok::<_, StorageError>(UnsupervisedChat {
                kind: kind_of(&chat)?,
                chat,
            })
        };
        Ok(Read::plain(page.try_map(view)?))
    }
}

/// Lists the participants of a chat in which the caller participates, by member id.
pub(crate) struct ListParticipants {
    pub(crate) org_id: OrgId,
    pub(crate) chat_id: ChatId,
    pub(crate) page: PageRequest,
}

impl Query for ListParticipants {
    type Context = Context;
    type View = Page<participant::Model>;
    type Error = Error;

    async fn run(&self, run: Run<'_>) -> Result<Read<Self::View>, Error> {
        let Run { context, tx, caller } = run;
        let (scope, member) = context.reader(tx, caller, self.org_id).await?;
        let membership = load_present(tx, &scope, member, self.chat_id).await?;
        let facts = context.roster.caller_context(tx, caller, self.org_id).await?;
        let decision = policy::list_participants(&facts, membership.kind()?);
        let scope = authorize(caller, self.org_id, decision)?;
        let after: Option<MemberId> = self.page.after(tx, caller)?;
        let reads_as_staff = membership.reads_as_staff()?;
        // The adults of protected families are in no list that families see (R83). A page token has the id of
        // the last row, so that they are left out before the page is made.
        let mut hidden = if reads_as_staff {
            BTreeSet::new()
        } else {
            context.roster.protected_adults(tx, self.org_id).await?
        };
        hidden.remove(&facts.member_id);
        let wanted = (after, self.page.limit());
        let rows = list_participants(tx, &scope, self.chat_id, wanted, &hidden).await?;
        let key = |row: &participant::Model| MemberId::from_uuid(row.member_id);
        let mut page = self.page.page(tx, caller, rows, key);
        if !reads_as_staff {
            // Families do not learn when others came (F21).
            let is_other = |row: &&mut participant::Model| key(row) != facts.member_id;
            for row in page.items.iter_mut().filter(is_other) {
                row.joined_seq = 0;
            }
        }
        Ok(Read::plain(page))
    }
}
