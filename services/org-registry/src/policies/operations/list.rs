use parta_access::authorize;
use parta_edge::{Page, PageRequest, Query, Read};
use parta_ids::OrgId;

use super::ShownChange;
use crate::{
    context::{Context, Operator, Run},
    error::Error,
    organizations,
    policies::{policy, storage},
};

/// Lists the changes of the policies, newest first.
#[derive(Debug)]
pub(in crate::policies) struct ListPolicyChanges {
    pub(in crate::policies) org_id: OrgId,
    pub(in crate::policies) pending_only: bool,
    pub(in crate::policies) page: PageRequest,
}

impl Query for ListPolicyChanges {
    type Context = Context;
    type View = Page<ShownChange>;
    type Error = Error;

    async fn run(&self, run: Run<'_>) -> Result<Read<Page<ShownChange>>, Error> {
        let Run { context, tx, caller } = run;
        let facts = context.roster.caller_context(tx, caller, self.org_id).await?;
        let scope = authorize(caller, self.org_id, policy::decide(&facts))?;
        let organization = organizations::find(tx, &scope).await?;
        let organization = organization.ok_or(Error::UnknownOrganization(self.org_id))?;
        let before = self.page.after(tx, caller)?;
        let rows = storage::list(tx, &scope, self.pending_only, before, self.page.limit()).await?;
        let show = |row| ShownChange::new(row, organization.policies_version);
        let rows = rows.into_iter().map(show).collect();
        Ok(Read::plain(self.page.page(tx, caller, rows, |row| row.change.id)))
    }
}

/// Lists the pending changes of all organizations for the operator, oldest first.
#[derive(Debug)]
pub(in crate::policies) struct ListPendingPolicyChanges {
    pub(in crate::policies) page: PageRequest,
}

impl Query for ListPendingPolicyChanges {
    type Context = Context;
    type View = Page<ShownChange>;
    type Error = Error;

    async fn run(&self, run: Run<'_>) -> Result<Read<Page<ShownChange>>, Error> {
        let Run { tx, caller, .. } = run;
        Operator::of(caller)?;
        let after = self.page.after(tx, caller)?;
        let rows = storage::list_pending(tx, after, self.page.limit()).await?;
        let organizations = rows.iter().map(|row| row.org_id);
        let versions = organizations::policies_versions(tx, organizations).await?;
        let show = |row: crate::policies::model::PolicyChange| {
            // Each change has a row of its organization, to which its foreign key leads.
            let version = versions.get(&row.org_id).copied().unwrap_or_default();
            ShownChange::new(row, version)
        };
        let rows = rows.into_iter().map(show).collect();
        Ok(Read::plain(self.page.page(tx, caller, rows, |row| row.change.id)))
    }
}
