//! Reading invitations.
use chrono::{DateTime, Utc};
use parta_access::authorize;
use parta_edge::{Page, PageRequest, Query, Read};
use parta_ids::{InvitationId, OrgId};

use super::{
    super::{
        model::{InviteRole, Shown, State},
        policy,
        secret::{LinkSecret, Presented},
        storage::{self, Filter},
    },
    grounds::{show, show_all, stop_of},
    managed,
};
use crate::{
    context::{Context, Run},
    error::Error,
};

#[derive(Debug)]
pub(crate) struct GetInvitation {
    pub(crate) org_id: OrgId,
    pub(crate) invitation_id: InvitationId,
}

impl Query for GetInvitation {
    type Context = Context;
    type View = Shown;
    type Error = Error;

    async fn run(&self, run: Run<'_>) -> Result<Read<Shown>, Error> {
        let Run { context, tx, caller } = run;
        let (org, id) = (self.org_id, self.invitation_id);
        let facts = context.roster.caller_context(tx, caller, org).await?;
        let scope = authorize(caller, org, policy::list(&facts))?;
        let found = storage::find(tx, &scope, id).await?.ok_or(Error::Unknown(id))?;
        authorize(caller, org, policy::read(&facts, &found))?;
        Ok(Read::plain(show(context, tx, found).await?))
    }
}

/// Returns the secret of an active invitation. Audited.
#[derive(Debug)]
pub(crate) struct GetInvitationLink {
    pub(crate) org_id: OrgId,
    pub(crate) invitation_id: InvitationId,
}

impl Query for GetInvitationLink {
    type Context = Context;
    type View = LinkSecret;
    type Error = Error;

    async fn run(&self, run: Run<'_>) -> Result<Read<LinkSecret>, Error> {
        let Run { context, tx, .. } = run;
        let (org, id) = (self.org_id, self.invitation_id);
        let (_, found) = managed(run, org, id).await?;
        match found.state(context.db.env().now()) {
            State::Active => {}
            closed => return Err(Error::closed(closed)),
        }
        if let Some(stop) = stop_of(context, tx, &found).await? {
            return Err(Error::ground_gone(stop));
        }
        let secret = LinkSecret::of(&context.secrets, id);
        Ok(Read::audited(secret, org, &format!("invitations/{id}/link")))
    }
}

/// Lists invitations, newest first: all of them for the administration, the caller's own for other staff.
#[derive(Debug)]
pub(crate) struct ListInvitations {
    pub(crate) org_id: OrgId,
    pub(crate) filter: Filter,
    pub(crate) page: PageRequest,
}

impl Query for ListInvitations {
    type Context = Context;
    type View = Page<Shown>;
    type Error = Error;

    async fn run(&self, run: Run<'_>) -> Result<Read<Page<Shown>>, Error> {
        let Run { context, tx, caller } = run;
        let facts = context.roster.caller_context(tx, caller, self.org_id).await?;
        let scope = authorize(caller, self.org_id, policy::list(&facts))?;
        let filter = Filter {
            issuer_id: (!facts.is_administration()).then_some(facts.member_id),
            ..self.filter.clone()
        };
        let now = context.db.env().now();
        let after: Option<InvitationId> = self.page.after(tx, caller)?;
        let found = storage::list(tx, &scope, &filter, now, after, self.page.limit()).await?;
        let shown = show_all(context, tx, found).await?;
        let page = self.page.page(tx, caller, shown, |shown| shown.invitation.id);
        Ok(Read::plain(page))
    }
}

/// Returns where the link of a secret leads. A child is never named.
#[derive(Debug)]
pub(crate) struct ResolveInvitation {
    /// `None` if no secret has the form of the presented text.
    pub(crate) secret: Option<Presented>,
}

/// The organization, the role and the unit to which a link leads.
pub(crate) struct Destination {
    pub(crate) org_id: OrgId,
    pub(crate) organization_display_name: String,
    pub(crate) role: InviteRole,
    /// Empty for staff of no unit.
    pub(crate) unit_label: String,
    pub(crate) expire_time: DateTime<Utc>,
}

impl Query for ResolveInvitation {
    type Context = Context;
    type View = Destination;
    type Error = Error;

    async fn run(&self, run: Run<'_>) -> Result<Read<Destination>, Error> {
        let Run { context, tx, .. } = run;
        let secret = self.secret.as_ref().ok_or(Error::NotUsable)?;
        let found = storage::find_by_secret(tx, secret)
            .await?
            .filter(|found| found.state(context.db.env().now()) == State::Active)
            .ok_or(Error::NotUsable)?;
        if stop_of(context, tx, &found).await?.is_some() {
            return Err(Error::NotUsable);
        }
        let org_id = found.draft.org_id;
        let organization = context.roster.organization(tx, org_id).await?;
        let unit = match found.draft.unit_id {
            Some(unit) => context.roster.unit(tx, org_id, unit).await?,
            None => None,
        };
        Ok(Read::plain(Destination {
            org_id,
            organization_display_name: organization.ok_or(Error::NotUsable)?.display_name,
            role: found.draft.role,
            unit_label: unit.map(|unit| unit.label).unwrap_or_default(),
            expire_time: found.expire_time,
        }))
    }
}
