use parta_access::{SignedToken, lookup_scope};
use parta_database::StorageError;
use parta_edge::{Page, PageRequest, Query, Read};
use parta_ids::{MemberId, OrgId, SessionId};
use parta_roster::{MemberContext, State};
use parta_status::not_found;

use super::any_session;
use crate::{
    context::{Context, Run},
    error::Error,
    member_records::{self, Member},
    sessions::{model::Session, secret, storage},
};

/// Lists the sessions of the caller that are alive, latest first.
#[derive(Debug)]
pub(crate) struct ListSessions {
    pub(crate) page: PageRequest,
}

#[derive(Debug)]
pub(crate) struct Sessions {
    pub(crate) page: Page<Session>,
    pub(crate) current: SessionId,
}

impl Query for ListSessions {
    type Context = Context;
    type View = Sessions;
    type Error = Error;

    async fn run(&self, run: Run<'_>) -> Result<Read<Sessions>, Error> {
        let Run { tx, caller, .. } = run;
        let own = any_session(tx, caller).await?;
        let current = own.id;
        let after = self.page.after(tx, caller)?;
        let rows = if own.code_org_id.is_some() {
            // The other sessions belong to what the person does elsewhere.
            vec![own]
        } else {
            storage::list_alive(tx, own.account_id, tx.now(), after, self.page.limit()).await?
        };
        let page = self.page.page(tx, caller, rows, |session| session.id);
        Ok(Read::plain(Sessions { page, current }))
    }
}

/// Issues a token by which the person calls as a member of one organization.
#[derive(Debug)]
pub(crate) struct IssueOrganizationToken {
    pub(crate) org_id: OrgId,
}

#[derive(Debug)]
pub(crate) struct OrganizationToken {
    pub(crate) member_id: MemberId,
    pub(crate) access_token: SignedToken,
    /// Names the state in which the person is the member.
    pub(crate) consistency_token: String,
}

impl Query for IssueOrganizationToken {
    type Context = Context;
    type View = OrganizationToken;
    type Error = Error;

    async fn run(&self, run: Run<'_>) -> Result<Read<OrganizationToken>, Error> {
        let Run { context, tx, caller } = run;
        let org = self.org_id;
        let session = any_session(tx, caller).await?;
        let scope = lookup_scope(caller, org)?;
        let member = member_records::find_by_account(tx, &scope, session.account_id).await?;
        let member = member
            .filter(|member| member.state == State::Active && session.acts_for(org))
            .ok_or_else(|| not_found("organization", org))?;
        let facts = context.contexts_of(tx, org, member.id).await?;
        if facts.is_some_and(|facts| facts.is_suspended()) {
            return Err(MemberContext::suspended_refusal().into());
        }
        let theirs = secret::pairwise_session(&context.secrets, session.id, org, member.id);
        let reads_since = session.reads_since();
        let token = context.issuer.person_since(org, member.id, theirs, reads_since);
        Ok(Read::plain(OrganizationToken {
            member_id: member.id,
            access_token: Context::signed(token)?,
            consistency_token: parta_mutations::consistency_token(tx.db(), org, tx.head(org).await?),
        }))
    }
}

/// Lists where the person is a member.
///
/// A membership whose row holds a value that this build does not know is left out with a WARN: the message
/// has no field that could say so, and the others stay usable.
#[derive(Debug)]
pub(crate) struct ListMemberships {
    pub(crate) page: PageRequest,
}

#[derive(Debug)]
pub(crate) struct MembershipView {
    pub(crate) member: Member,
    /// Empty while the organization is not known here.
    pub(crate) organization_display_name: String,
}

impl Query for ListMemberships {
    type Context = Context;
    type View = Page<MembershipView>;
    type Error = Error;

    async fn run(&self, run: Run<'_>) -> Result<Read<Page<MembershipView>>, Error> {
        let Run { context, tx, caller } = run;
        let session = any_session(tx, caller).await?;
        let after = self.page.after(tx, caller)?;
        let account = session.account_id;
        let rows = member_records::list_of_account(tx, account, after, self.page.limit()).await?;
        let Page {
            items: rows,
            next_page_token,
        } = self.page.page(tx, caller, rows, |(org, _)| *org);
        let mut items = Vec::with_capacity(rows.len());
        for (org, row) in rows.into_iter().filter(|(org, _)| session.acts_for(*org)) {
            let member = match row {
                Ok(member) => member,
                Err(StorageError::UnknownValue { column, value }) => {
                    tracing::warn!(org.id = %org, column, value, "a membership was left out of a list");
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            let known = context.roster.organization(tx, org).await?;
            items.push(MembershipView {
                member,
                organization_display_name: known.map(|o| o.display_name).unwrap_or_default(),
            });
        }
        Ok(Read::plain(Page {
            items,
            next_page_token,
        }))
    }
}
