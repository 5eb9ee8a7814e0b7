//! Reading: get, list, resolve.
use parta_access::{Caller, authorize};
use parta_ids::{InvitationId, OrgId, ReservationId};
use parta_proto::parta::invitation::v1 as pb;

use super::{
    convert,
    model::State,
    policy,
    secret::Presented,
    storage::{self as invitations, Filter},
};
use crate::{acceptance::storage as reservations, context::App, error::Error};

/// A page as asked for.
pub(crate) struct Page<'a> {
    pub(crate) size: u64,
    pub(crate) token: &'a str,
    /// What else the list was asked by; a token of another list is refused.
    pub(crate) filter: String,
}

impl App {
    pub(crate) async fn get(
        &self,
        caller: &Caller,
        org: OrgId,
        id: InvitationId,
    ) -> Result<pb::GetInvitationResponse, Error> {
        let facts = self.facts(caller, org).await?;
        let scope = authorize(caller, org, policy::list(&facts))?;
        let found = invitations::find(self.db.conn(), &scope, id)
            .await?
            .ok_or(Error::Unknown(id))?;
        authorize(caller, org, policy::read(&facts, &found))?;
        let invitation = Some(convert::invitation(&found, self.db.env().now()));
        Ok(pb::GetInvitationResponse { invitation })
    }

    /// The secret once more; the audit row and the answer stand or fall together.
    pub(crate) async fn link(
        &self,
        caller: &Caller,
        org: OrgId,
        id: InvitationId,
    ) -> Result<pb::GetInvitationLinkResponse, Error> {
        let facts = &self.facts(caller, org).await?;
        self.db
            .write(|tx| async move {
                let (_, found) = self.managed(&tx, caller, facts, id).await?;
                match found.state(tx.now()) {
                    State::Active => {}
                    closed => return Err(Error::Closed(closed)),
                }
                parta_audit::record(&tx, caller, Some(org), format!("{}/link", found.resource_name()))
                    .await?;
                let link = Some(convert::link(&self.secret(id), &self.config));
                Ok(pb::GetInvitationLinkResponse { link })
            })
            .await
    }

    pub(crate) async fn list(
        &self,
        caller: &Caller,
        org: OrgId,
        mut filter: Filter,
        page: Page<'_>,
    ) -> Result<pb::ListInvitationsResponse, Error> {
        let facts = self.facts(caller, org).await?;
        let scope = authorize(caller, org, policy::list(&facts))?;
        if !facts.is_administration() {
            filter.issuer_id = Some(facts.member_id);
        }
        let after = self
            .db
            .decode_page::<InvitationId>(caller, &page.filter, page.token)?;
        let now = self.db.env().now();
        let mut found = invitations::list(self.db.conn(), &scope, &filter, now, after, page.size + 1).await?;
        let more = found.len() as u64 > page.size;
        found.truncate(page.size as usize);
        let next = found
            .last()
            .filter(|_| more)
            .map(|last| self.db.encode_page(caller, &page.filter, &last.id));
        Ok(pb::ListInvitationsResponse {
            invitations: found.iter().map(|i| convert::invitation(i, now)).collect(),
            next_page_token: next.unwrap_or_default(),
        })
    }

    pub(crate) async fn uses(
        &self,
        caller: &Caller,
        org: OrgId,
        id: InvitationId,
        page: Page<'_>,
    ) -> Result<pb::ListInvitationUsesResponse, Error> {
        let facts = self.facts(caller, org).await?;
        let (scope, _) = self.managed(self.db.conn(), caller, &facts, id).await?;
        let after = self
            .db
            .decode_page::<ReservationId>(caller, &page.filter, page.token)?;
        let mut found = reservations::list_uses(self.db.conn(), &scope, id, after, page.size + 1).await?;
        let more = found.len() as u64 > page.size;
        found.truncate(page.size as usize);
        let next = found
            .last()
            .filter(|_| more)
            .map(|last| self.db.encode_page(caller, &page.filter, &last.0));
        Ok(pb::ListInvitationUsesResponse {
            uses: found
                .into_iter()
                .map(|(_, member, time)| convert::used(member, time))
                .collect(),
            next_page_token: next.unwrap_or_default(),
        })
    }

    /// Tells the holder of a secret where it leads: organization, role, unit; never a child.
    pub(crate) async fn resolve(
        &self,
        secret: Option<Presented>,
    ) -> Result<pb::ResolveInvitationResponse, Error> {
        let secret = secret.ok_or(Error::NotUsable)?;
        let found = invitations::find_by_secret(self.db.conn(), &secret)
            .await?
            .ok_or(Error::NotUsable)?;
        if found.state(self.db.env().now()) != State::Active {
            return Err(Error::NotUsable);
        }
        let org = found.draft.org_id;
        let organization = self.roster.organization(self.db.conn(), org).await?;
        let organization = organization.ok_or(Error::NotUsable)?;
        let unit = match found.draft.unit_id {
            Some(unit) => self.roster.unit(self.db.conn(), org, unit).await?,
            None => None,
        };
        Ok(pb::ResolveInvitationResponse {
            org_id: org.to_string(),
            organization_display_name: organization.display_name,
            role: convert::role_out(found.draft.role).into(),
            unit_label: unit.map(|u| u.label).unwrap_or_default(),
            expire_time: Some(convert::timestamp(found.expire_time)),
        })
    }
}
