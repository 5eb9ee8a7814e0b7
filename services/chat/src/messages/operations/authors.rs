use std::collections::BTreeSet;

use parta_edge::{Query, Read};
use parta_ids::{ChatId, MemberId, OrgId};

use crate::{
    chats::{Readable, load_readable_at_once},
    context::{Context, Run},
    entries::{self, Content},
    error::Error,
};

/// Lists the people whom entries of a chat show to the caller.
pub(crate) struct ListAuthors {
    pub(crate) org_id: OrgId,
    pub(crate) chat_id: ChatId,
    pub(crate) seqs: BTreeSet<i64>,
}

impl Query for ListAuthors {
    type Context = Context;
    type View = BTreeSet<MemberId>;
    type Error = Error;

    async fn run(&self, run: Run<'_>) -> Result<Read<BTreeSet<MemberId>>, Error> {
        let Run { context, tx, caller } = run;
        let (scope, readable) = load_readable_at_once(context, tx, caller, self.org_id, self.chat_id).await?;
        let Readable {
            membership,
            after,
            upto,
        } = readable;
        let may_read = |seq: &i64| after < *seq && *seq <= upto;
        let seqs: Vec<i64> = self.seqs.iter().copied().filter(may_read).collect();
        let entries = entries::find_entries(tx, &scope, membership.log(), &seqs).await?;
        let reader = entries::reader_of(tx, &context.roster, &membership, &entries).await?;
        let shown = entries.into_iter().filter_map(|entry| match entry.content {
            Content::Message { sender, .. } => Some(sender),
            Content::Joining(member, shown_to) | Content::Leaving(member, shown_to) => {
                reader.sees(member, shown_to).then_some(member)
            }
        });
        let mut authors: BTreeSet<MemberId> = shown.collect();
        if membership.participant.left_seq.is_some() {
            // A reader who has left does not learn what became of the others since.
            authors.retain(|author| *author == reader.member);
        } else {
            // Nor does a person from whom the other one is kept by an order.
            let facts = context.roster.caller_context(tx, caller, self.org_id).await?;
            let ids: Vec<MemberId> = authors.iter().copied().collect();
            let others = context.roster.contexts_of(tx, self.org_id, &ids).await?;
            for other in others.iter().filter(|other| !facts.may_contact(other)) {
                authors.remove(&other.member_id);
            }
        }
        Ok(Read::plain(authors))
    }
}
