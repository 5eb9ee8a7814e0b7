//! Reading the uses of a link.
use parta_edge::{Page, PageRequest, Query, Read};
use parta_ids::{InvitationId, OrgId, ReservationId};

use crate::{
    acceptance::{LinkUse, list_uses},
    context::{Context, Run},
    error::Error,
    invitations::managed,
};

/// Lists the members who joined with a link, latest reservation first.
#[derive(Debug)]
pub(crate) struct ListInvitationUses {
    pub(crate) org_id: OrgId,
    pub(crate) invitation_id: InvitationId,
    pub(crate) page: PageRequest,
}

impl Query for ListInvitationUses {
    type Context = Context;
    type View = Page<LinkUse>;
    type Error = Error;

    async fn run(&self, run: Run<'_>) -> Result<Read<Page<LinkUse>>, Error> {
        let Run { tx, caller, .. } = run;
        let id = self.invitation_id;
        let (scope, _) = managed(run, self.org_id, id).await?;
        let after: Option<ReservationId> = self.page.after(tx, caller)?;
        let uses = list_uses(tx, &scope, id, after, self.page.limit()).await?;
        let page = self
            .page
            .page(tx, caller, uses, |link_use| link_use.reservation_id);
        Ok(Read::plain(page))
    }
}
