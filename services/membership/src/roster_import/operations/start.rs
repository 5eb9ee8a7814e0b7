use parta_access::{Caller, OrgScope};
use parta_database::Tx;
use parta_edge::Mutation;
use parta_ids::{OrgId, RosterImportId, TypedId as _};
use parta_mutations::check_etag;

use super::{ImportOutcome, audit, load, may_import, unknown_import};
use crate::{
    context::Context,
    error::Error,
    roster_import::{
        model::{Import, ImportState},
        run::JOB,
        storage,
    },
};

/// Starts an import that was checked.
#[derive(Debug)]
pub(crate) struct StartRosterImport {
    pub(crate) org_id: OrgId,
    pub(crate) roster_import_id: RosterImportId,
    /// The etag that the caller has read; empty to start without a comparison.
    pub(crate) etag: String,
    pub(crate) allow_mass_removal: bool,
}

impl Mutation for StartRosterImport {
    type Context = Context;
    type Grant = OrgScope;
    type Outcome = ImportOutcome;
    type View = Import;
    type Error = Error;

    async fn authorize(&self, context: &Context, tx: &Tx, caller: &Caller) -> Result<OrgScope, Error> {
        may_import(context, tx, caller, self.org_id).await
    }

    async fn act(
        &self,
        _: &Context,
        tx: &Tx,
        caller: &Caller,
        scope: &OrgScope,
    ) -> Result<ImportOutcome, Error> {
        let (org, id) = (self.org_id, self.roster_import_id);
        let import = storage::lock_to_start(tx, scope, id).await?;
        let mut import = import.ok_or_else(|| unknown_import(id))?;
        check_etag(&self.etag, import.revision)?;
        if import.state != ImportState::Checked
            || storage::is_superseded(tx, scope, id, import.create_time).await?
        {
            return Err(Error::import_not_startable());
        }
        if import.mass_removal && !self.allow_mass_removal {
            return Err(Error::mass_removal(import.planned.removals));
        }
        // The classes are stored at the start and not by the check, because a check changes nothing.
        storage::put_classes(tx, scope, &import.classes).await?;
        import.state = ImportState::Running;
        import.start_time = Some(tx.now());
        import.revision += 1;
        storage::update(tx, scope, &import).await?;
        parta_jobs::enqueue(tx, JOB, Some(org), id.to_string().into_bytes(), id.uuid()).await?;
        audit(tx, caller, org, id).await?;
        Ok(ImportOutcome { roster_import_id: id })
    }

    async fn view(
        &self,
        _: &Context,
        tx: &Tx,
        scope: &OrgScope,
        outcome: &ImportOutcome,
    ) -> Result<Import, Error> {
        load(tx, scope, outcome.roster_import_id).await
    }
}
