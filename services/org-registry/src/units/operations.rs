//! Reading and changing units.
use parta_access::{Caller, OrgScope, authorize};
use parta_database::Tx;
use parta_edge::{Mutation, Page, PageRequest, Query, Read, Stored};
use parta_ids::{OrgId, UnitId};
use parta_mutations::check_etag;
use serde::{Deserialize, Serialize};

use super::{
    events,
    model::{ImportSource, STAFF_ROOM_LABEL, Unit, UnitKind},
    policy,
    storage::{self, Filter},
};
use crate::{
    context::{Context, Run},
    error::Error,
    organizations::{self, OrganizationKind},
};

async fn may_change(run: Run<'_>, org: OrgId) -> Result<OrgScope, Error> {
    let Run { context, tx, caller } = run;
    let facts = context.roster.caller_context(tx, caller, org).await?;
    Ok(authorize(caller, org, policy::change(&facts))?)
}

async fn load(tx: &Tx, scope: &OrgScope, id: UnitId) -> Result<Unit, Error> {
    let unit = storage::find(tx, scope, id).await?;
    unit.ok_or_else(|| Error::unknown_unit(id))
}

/// The outcome of CreateUnit.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct CreateOutcome {
    unit_id: UnitId,
}

impl Stored for CreateOutcome {}

/// Creates a class, group or department.
#[derive(Debug)]
pub(crate) struct CreateUnit {
    pub(crate) org_id: OrgId,
    pub(crate) kind: UnitKind,
    pub(crate) label: String,
}

impl Mutation for CreateUnit {
    type Context = Context;
    type Grant = OrgScope;
    type Outcome = CreateOutcome;
    type View = Unit;
    type Error = Error;

    async fn authorize(&self, run: Run<'_>) -> Result<OrgScope, Error> {
        may_change(run, self.org_id).await
    }

    async fn act(&self, run: Run<'_>, scope: &OrgScope) -> Result<CreateOutcome, Error> {
        let Run { tx, caller, .. } = run;
        let organization = organizations::find(tx, scope).await?;
        let organization = organization.ok_or(Error::UnknownOrganization(self.org_id))?;
        if organization.kind == OrganizationKind::Partner && self.kind != UnitKind::Department {
            return Err(Error::kind_not_offered());
        }
        check_label(tx, scope, self.kind, &self.label, None).await?;
        let unit = create(tx, scope, self.kind, &self.label, None).await?;
        audit(tx, caller, &unit).await?;
        Ok(CreateOutcome { unit_id: unit.id })
    }

    async fn view(&self, run: Run<'_>, scope: &OrgScope, outcome: &CreateOutcome) -> Result<Unit, Error> {
        load(run.tx, scope, outcome.unit_id).await
    }
}

/// The grant to change this unit, whose row is locked.
pub(crate) struct ChangeGrant {
    scope: OrgScope,
    unit: Unit,
}

impl ChangeGrant {
    async fn of(run: Run<'_>, org: OrgId, id: UnitId) -> Result<Self, Error> {
        let scope = may_change(run, org).await?;
        let unit = storage::lock(run.tx, &scope, id).await?;
        Ok(Self {
            scope,
            unit: unit.ok_or_else(|| Error::unknown_unit(id))?,
        })
    }

    /// Returns the unit. Fails for the staff room, for an archived unit, and if the unit has changed since
    /// the caller read it.
    fn unit_to_change(&self, etag: &str) -> Result<Unit, Error> {
        let unit = &self.unit;
        if unit.kind == UnitKind::StaffRoom {
            return Err(Error::staff_room_fixed());
        }
        if unit.archive_time.is_some() {
            return Err(Error::archived(unit.id));
        }
        check_etag(etag, unit.revision)?;
        Ok(unit.clone())
    }
}

/// Changes the label of a unit.
#[derive(Debug)]
pub(crate) struct RenameUnit {
    pub(crate) org_id: OrgId,
    pub(crate) unit_id: UnitId,
    pub(crate) label: String,
    /// The etag that the caller has read; empty to change the object without a comparison.
    pub(crate) etag: String,
}

impl Mutation for RenameUnit {
    type Context = Context;
    type Grant = ChangeGrant;
    type Outcome = ();
    type View = Unit;
    type Error = Error;

    async fn authorize(&self, run: Run<'_>) -> Result<ChangeGrant, Error> {
        ChangeGrant::of(run, self.org_id, self.unit_id).await
    }

    async fn act(&self, run: Run<'_>, grant: &ChangeGrant) -> Result<(), Error> {
        let Run { tx, caller, .. } = run;
        let mut unit = grant.unit_to_change(&self.etag)?;
        check_label(tx, &grant.scope, unit.kind, &self.label, Some(unit.id)).await?;
        unit.label.clone_from(&self.label);
        unit.revision += 1;
        storage::update(tx, &grant.scope, &unit).await?;
        events::renamed(tx, &unit).await?;
        audit(tx, caller, &unit).await
    }

    async fn view(&self, run: Run<'_>, grant: &ChangeGrant, (): &()) -> Result<Unit, Error> {
        load(run.tx, &grant.scope, self.unit_id).await
    }
}

/// Archives a unit. Another unit may use its label afterwards.
#[derive(Debug)]
pub(crate) struct ArchiveUnit {
    pub(crate) org_id: OrgId,
    pub(crate) unit_id: UnitId,
    /// The etag that the caller has read; empty to change the object without a comparison.
    pub(crate) etag: String,
}

impl Mutation for ArchiveUnit {
    type Context = Context;
    type Grant = ChangeGrant;
    type Outcome = ();
    type View = Unit;
    type Error = Error;

    async fn authorize(&self, run: Run<'_>) -> Result<ChangeGrant, Error> {
        ChangeGrant::of(run, self.org_id, self.unit_id).await
    }

    async fn act(&self, run: Run<'_>, grant: &ChangeGrant) -> Result<(), Error> {
        let Run { tx, caller, .. } = run;
        let mut unit = grant.unit_to_change(&self.etag)?;
        unit.archive_time = Some(tx.now());
        unit.revision += 1;
        storage::update(tx, &grant.scope, &unit).await?;
        events::archived(tx, &unit).await?;
        audit(tx, caller, &unit).await
    }

    async fn view(&self, run: Run<'_>, grant: &ChangeGrant, (): &()) -> Result<Unit, Error> {
        load(run.tx, &grant.scope, self.unit_id).await
    }
}

/// Returns a unit that the caller may see.
#[derive(Debug)]
pub(crate) struct GetUnit {
    pub(crate) org_id: OrgId,
    pub(crate) unit_id: UnitId,
}

impl Query for GetUnit {
    type Context = Context;
    type View = Unit;
    type Error = Error;

    async fn run(&self, run: Run<'_>) -> Result<Read<Unit>, Error> {
        let Run { context, tx, caller } = run;
        let reader = context.reader(tx, caller, self.org_id).await?;
        let scope = authorize(caller, self.org_id, policy::list(&reader))?;
        if !policy::may_see(&reader, self.unit_id) {
            return Err(Error::unknown_unit(self.unit_id));
        }
        Ok(Read::plain(load(tx, &scope, self.unit_id).await?))
    }
}

/// Lists the units that the caller may see, in the order of their creation.
#[derive(Debug)]
pub(crate) struct ListUnits {
    pub(crate) org_id: OrgId,
    pub(crate) kind: Option<UnitKind>,
    pub(crate) include_archived: bool,
    pub(crate) page: PageRequest,
}

impl Query for ListUnits {
    type Context = Context;
    type View = Page<Unit>;
    type Error = Error;

    async fn run(&self, run: Run<'_>) -> Result<Read<Page<Unit>>, Error> {
        let Run { context, tx, caller } = run;
        let reader = context.reader(tx, caller, self.org_id).await?;
        let scope = authorize(caller, self.org_id, policy::list(&reader))?;
        let filter = Filter {
            kind: self.kind,
            include_archived: self.include_archived,
            only: policy::visible(&reader),
        };
        let after: Option<UnitId> = self.page.after(tx, caller)?;
        let rows = storage::list(tx, &scope, &filter, after, self.page.limit()).await?;
        Ok(Read::plain(self.page.page(tx, caller, rows, |row| row.id)))
    }
}

/// Creates the staff room of a new organization.
pub(crate) async fn create_staff_room(tx: &Tx, scope: &OrgScope) -> Result<(), Error> {
    create(tx, scope, UnitKind::StaffRoom, STAFF_ROOM_LABEL, None).await?;
    Ok(())
}

/// Creates a class of a roster import. If a person created the class after the import was checked, the event
/// names the existing class.
pub(super) async fn create_imported(
    tx: &Tx,
    scope: &OrgScope,
    label: &str,
    source: &ImportSource,
) -> Result<(), Error> {
    let mut found = storage::find_by_label(tx, scope, UnitKind::Class, label).await?;
    if found.is_none() {
        // The request is repeated, and the class was renamed or archived since.
        found = storage::find_by_source(tx, scope, source).await?;
    }
    match found {
        Some(id) => events::created(tx, &load(tx, scope, id).await?, Some(source)).await,
        None => {
            create(tx, scope, UnitKind::Class, label, Some(source)).await?;
            Ok(())
        }
    }
}

async fn create(
    tx: &Tx,
    scope: &OrgScope,
    kind: UnitKind,
    label: &str,
    source: Option<&ImportSource>,
) -> Result<Unit, Error> {
    let unit = Unit {
        org_id: scope.org_id(),
        id: tx.env().id(),
        kind,
        label: label.to_owned(),
        create_time: tx.now(),
        archive_time: None,
        revision: 1,
    };
    storage::insert(tx, scope, &unit, source).await?;
    events::created(tx, &unit, source).await?;
    Ok(unit)
}

/// Fails if another unit of the kind has the label.
async fn check_label(
    tx: &Tx,
    scope: &OrgScope,
    kind: UnitKind,
    label: &str,
    own: Option<UnitId>,
) -> Result<(), Error> {
    match storage::find_by_label(tx, scope, kind, label).await? {
        Some(other) if Some(other) != own => Err(Error::label_taken(other)),
        _ => Ok(()),
    }
}

async fn audit(tx: &Tx, caller: &Caller, unit: &Unit) -> Result<(), Error> {
    let (org, id) = (unit.org_id, unit.id);
    Ok(parta_audit::record_within(tx, caller, org, format!("units/{id}")).await?)
}
