use parta_access::OrgScope;
use parta_edge::Mutation;
use parta_ids::{OrgId, RosterImportId};
use parta_status::{invalid, not_found};

use super::{ImportOutcome, audit, load, may_import, unknown_import};
use crate::{
    context::{Context, Run},
    error::Error,
    roster_import::{
        apply::Applier,
        model::{Import, Outcome},
        storage,
        storage::rows,
    },
};

/// Decides, as the second person, about changes of an import that wait (F6).
#[derive(Debug)]
pub(crate) struct DecideChanges {
    pub(crate) org_id: OrgId,
    pub(crate) roster_import_id: RosterImportId,
    /// The numbers of the changes.
    pub(crate) numbers: Vec<i64>,
    /// Whether the changes are made; if not, they are dropped.
    pub(crate) confirms: bool,
}

impl Mutation for DecideChanges {
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
        let import = storage::lock(tx, scope, id).await?;
        let mut import = import.ok_or_else(|| unknown_import(id))?;
        let (_, decider) = caller.person().ok_or_else(|| not_found("organization", org))?;
        if import.starter_id == Some(decider) {
            return Err(Error::second_person_required());
        }
        let changes = rows::find_changes(tx, scope, id, &self.numbers).await?;
        if changes.len() != self.numbers.len() {
            return Err(invalid("numbers", "no change of the import has one of these numbers").into());
        }
        if changes
            .iter()
            .any(|(_, change)| change.outcome != Outcome::Waiting)
        {
            return Err(Error::change_not_waiting());
        }
        let mut applier = Applier::new(context, tx, scope, id, &changes, decider).await?;
        // While this call waited for the locks of the import and of its people, the caller may have lost the
        // right.
        self.authorize(run).await?;
        for (_, change) in &changes {
            if applier.is_own(change)? {
                return Err(Error::second_person_required());
            }
        }
        for (number, change) in &changes {
            let outcome = if self.confirms {
                applier.confirm(change).await?
            } else {
                Outcome::Dropped
            };
            match outcome {
                Outcome::Done => import.done.add(change.kind),
                Outcome::NoEffect(_) => import.no_effect_count += 1,
                Outcome::Planned | Outcome::Waiting | Outcome::Dropped => {}
            }
            rows::set_outcome(tx, scope, id, &[*number], outcome).await?;
            import.waiting_count -= 1;
            let staged = std::mem::take(&mut applier.staged);
            staged.publish(tx, org, id, *number, *number);
        }
        import.revision += 1;
        storage::update(tx, scope, &import).await?;
        audit(tx, caller, org, id).await?;
        Ok(ImportOutcome { roster_import_id: id })
    }

    async fn view(&self, run: Run<'_>, scope: &OrgScope, outcome: &ImportOutcome) -> Result<Import, Error> {
        load(run.tx, scope, outcome.roster_import_id).await
    }
}
