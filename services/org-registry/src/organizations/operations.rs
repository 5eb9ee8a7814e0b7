//! Reading and changing organizations.
use parta_access::{OrgScope, authorize};
use parta_database::Tx;
use parta_edge::{Mutation, Page, PageRequest, Query, Read};
use parta_ids::OrgId;
use parta_mutations::check_etag;
use parta_roster::Policies;

use super::{
    events,
    model::{Changes, Organization, Registration},
    policy, storage,
};
use crate::{
    context::{Context, Operator, Run},
    error::Error,
};

/// The grant to change this organization, whose row is locked.
pub(crate) struct AdministrationGrant {
    scope: OrgScope,
    organization: Organization,
}

async fn may_administer(run: Run<'_>, org: OrgId) -> Result<AdministrationGrant, Error> {
    let Run { context, tx, caller } = run;
    let facts = context.roster.caller_context(tx, caller, org).await?;
    let scope = authorize(caller, org, policy::administer(&facts))?;
    Ok(AdministrationGrant {
        organization: lock(tx, &scope).await?,
        scope,
    })
}

impl AdministrationGrant {
    /// Returns the organization with the next revision. Fails if it has changed since the caller read it.
    fn next_revision(&self, tx: &Tx, etag: &str) -> Result<Organization, Error> {
        check_etag(etag, self.organization.revision)?;
        Ok(Organization {
            update_time: tx.now(),
            revision: self.organization.revision + 1,
            ..self.organization.clone()
        })
    }
}

async fn load(tx: &Tx, scope: &OrgScope) -> Result<Organization, Error> {
    let organization = storage::find(tx, scope).await?;
    organization.ok_or_else(|| Error::UnknownOrganization(scope.org_id()))
}

/// Changes descriptive data.
#[derive(Debug)]
pub(crate) struct UpdateOrganization {
    pub(crate) org_id: OrgId,
    pub(crate) changes: Changes,
    /// The etag that the caller has read; empty to change the object without a comparison.
    pub(crate) etag: String,
}

impl Mutation for UpdateOrganization {
    type Context = Context;
    type Grant = AdministrationGrant;
    type Outcome = ();
    type View = Organization;
    type Error = Error;

    async fn authorize(&self, run: Run<'_>) -> Result<AdministrationGrant, Error> {
        may_administer(run, self.org_id).await
    }

    async fn act(&self, run: Run<'_>, grant: &AdministrationGrant) -> Result<(), Error> {
        let Run { tx, caller, .. } = run;
        let org = self.org_id;
        let mut changed = grant.next_revision(tx, &self.etag)?;
        self.changes.apply(&mut changed);
        storage::update(tx, &grant.scope, &changed).await?;
        events::updated(tx, &changed).await?;
        parta_audit::record(tx, caller, Some(org), format!("organizations/{org}")).await?;
        Ok(())
    }

    async fn view(&self, run: Run<'_>, grant: &AdministrationGrant, (): &()) -> Result<Organization, Error> {
        load(run.tx, &grant.scope).await
    }
}

/// Loads the organization of the scope and locks its row until the transaction ends.
pub(crate) async fn lock(tx: &Tx, scope: &OrgScope) -> Result<Organization, Error> {
    let organization = storage::lock(tx, scope).await?;
    organization.ok_or_else(|| Error::UnknownOrganization(scope.org_id()))
}

/// Replaces the policies of the organization, whose row the caller has locked and whose change the caller
/// has authorized.
pub(crate) async fn replace_policies(
    tx: &Tx,
    scope: &OrgScope,
    organization: &Organization,
    policies: Policies,
) -> Result<Organization, Error> {
    let changed = Organization {
        policies,
        policies_version: organization.policies_version + 1,
        update_time: tx.now(),
        revision: organization.revision + 1,
        ..organization.clone()
    };
    storage::update(tx, scope, &changed).await?;
    events::policies_changed(tx, &changed).await?;
    Ok(changed)
}

#[derive(Debug)]
pub(crate) struct GetOrganization {
    pub(crate) org_id: OrgId,
}

impl Query for GetOrganization {
    type Context = Context;
    type View = Organization;
    type Error = Error;

    async fn run(&self, run: Run<'_>) -> Result<Read<Organization>, Error> {
        let Run { context, tx, caller } = run;
        let reader = context.reader(tx, caller, self.org_id).await?;
        let scope = authorize(caller, self.org_id, policy::read(&reader))?;
        Ok(Read::plain(load(tx, &scope).await?))
    }
}

/// Lists organizations for the operator, oldest first.
#[derive(Debug)]
pub(crate) struct ListOrganizations {
    pub(crate) page: PageRequest,
}

impl Query for ListOrganizations {
    type Context = Context;
    type View = Page<Organization>;
    type Error = Error;

    async fn run(&self, run: Run<'_>) -> Result<Read<Page<Organization>>, Error> {
        let Run { tx, caller, .. } = run;
        Operator::of(caller)?;
        let after: Option<OrgId> = self.page.after(tx, caller)?;
        let rows = storage::list(tx, after, self.page.limit()).await?;
        Ok(Read::plain(self.page.page(tx, caller, rows, |row| row.id)))
    }
}

/// Creates the organization of the scope with the default policies.
pub(crate) async fn create(
    tx: &Tx,
    scope: &OrgScope,
    registration: Registration,
) -> Result<Organization, Error> {
    let organization = Organization {
        id: scope.org_id(),
        display_name: registration.display_name,
        kind: registration.kind,
        region: registration.region,
        time_zone: registration.time_zone,
        ogrn: registration.ogrn,
        kpp: registration.kpp,
        head_full_name: registration.head_full_name,
        policies: Policies::default(),
        policies_version: 1,
        create_time: tx.now(),
        update_time: tx.now(),
        revision: 1,
    };
    storage::insert(tx, scope, &organization).await?;
    events::created(tx, &organization).await?;
    Ok(organization)
}
