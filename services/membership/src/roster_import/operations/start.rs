use parta_access::OrgScope;
use parta_edge::Mutation;
use parta_ids::{OrgId, RosterImportId, TypedId as _, UnitId};
use parta_mutations::check_etag;
use parta_roster::label_key;

use super::{ImportOutcome, audit, check::current_roster, classes, load, may_import, unknown_import};
use crate::{
    context::{Context, Run},
    error::Error,
    roster_import::{
        limits::{JOB, NO_LIMIT},
        mass::mass_changes,
        model::{ChangeKind, Import, ImportState, MassChange},
        storage,
        storage::{
            rows::{self, ChangeFilter},
            source,
        },
    },
};

/// Starts an import that was checked, unless it makes mass changes that the caller has not confirmed.
#[derive(Debug)]
pub(crate) struct StartRosterImport {
    pub(crate) org_id: OrgId,
    pub(crate) roster_import_id: RosterImportId,
    /// The etag that the caller has read; empty to start without a comparison.
    pub(crate) etag: String,
    /// The mass changes that the caller has read and intends.
    pub(crate) confirmed: Vec<MassChange>,
}

impl StartRosterImport {
    /// Refuses mass changes that the caller has not confirmed, and numbers that are no longer true. `checked`
    /// are those that the check has found.
    fn check_confirmed(&self, checked: &[MassChange], now: &[MassChange]) -> Result<(), Error> {
        let by_kind = |changes: &[MassChange]| {
            let mut changes = changes.to_vec();
            changes.sort_by_key(|change| change.kind);
            changes
        };
        if self.confirmed.is_empty() && !checked.is_empty() {
            return Err(Error::mass_change(checked.len()));
        }
        if now != checked || by_kind(&self.confirmed) != now {
            return Err(Error::preview_stale());
        }
        Ok(())
    }
}

impl Mutation for StartRosterImport {
    type Context = Context;
    type Grant = OrgScope;
    type Outcome = ImportOutcome;
    type View = Import;
    type Error = Error;

    async fn authorize(&self, run: Run<'_>) -> Result<OrgScope, Error> {
        may_import(run, self.org_id).await
    }

    async fn act(&self, run: Run<'_>, scope: &OrgScope) -> Result<ImportOutcome, Error> {
        let Run { context, tx, caller } = run;
        let (org, id) = (self.org_id, self.roster_import_id);
        let import = storage::lock_to_start(tx, scope, id).await?;
        let mut import = import.ok_or_else(|| unknown_import(id))?;
        check_etag(&self.etag, import.revision)?;
        if import.state != ImportState::Checked
            || storage::is_superseded(tx, scope, id, import.create_time).await?
        {
            return Err(Error::import_not_startable());
        }
        // While this call waited for the lock, the caller may have lost the right.
        self.authorize(run).await?;
        let classes = classes(context, tx, org).await?;
        let current = current_roster(context, tx, scope, &classes).await?;
        let changes = rows::list_changes(tx, scope, id, ChangeFilter::default(), 0, NO_LIMIT).await?;
        let changes: Vec<_> = changes.into_iter().map(|(_, change)| change).collect();
        self.check_confirmed(&import.mass_changes, &mass_changes(&changes, &current))?;
        // The classes are stored at the start and not by the check, because a check changes nothing.
        source::put_classes(tx, scope, &import.classes).await?;
        let requested = changes.iter().filter(|c| c.kind == ChangeKind::CreateUnit);
        let archived = requested.filter_map(|c| classes.all.get(&label_key(&c.details.unit_label)));
        let is_active = |unit: &&UnitId| classes.active.values().any(|active| active == *unit);
        import.archived_units = archived
            .flatten()
            .filter(|unit| !is_active(unit))
            .copied()
            .collect();
        import.starter_id = caller.person().map(|(_, member)| member);
        import.state = ImportState::Running;
        import.start_time = Some(tx.now());
        import.revision += 1;
        storage::update(tx, scope, &import).await?;
        parta_jobs::enqueue(tx, JOB, Some(org), id.to_string().into_bytes(), id.uuid()).await?;
        audit(tx, caller, org, id).await?;
        Ok(ImportOutcome { roster_import_id: id })
    }

    async fn view(&self, run: Run<'_>, scope: &OrgScope, outcome: &ImportOutcome) -> Result<Import, Error> {
        load(run.tx, scope, outcome.roster_import_id).await
    }
}
