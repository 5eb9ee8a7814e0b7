use parta_access::OrgScope;
use parta_database::Tx;
use parta_ids::MemberId;

use super::audit;
use crate::{
    context::{Context, Run},
    error::Error,
    roster_import::{policy, storage},
};

/// Whether the member who started an import may do so now (F18).
pub(in crate::roster_import) async fn starter_may_import(
    context: &Context,
    tx: &Tx,
    scope: &OrgScope,
    starter: MemberId,
) -> Result<bool, Error> {
    let facts = context.contexts_of(tx, scope.org_id(), starter).await?;
    Ok(facts.is_some_and(|facts| policy::import(&facts).is_allowed()))
}

/// Stops the imports that run although their starters may no longer import. One that waits for a class would
/// be stopped when the class comes, which may be never, and no other import starts while it runs.
pub(super) async fn stop_abandoned(run: Run<'_>, scope: &OrgScope) -> Result<(), Error> {
    let Run { context, tx, caller } = run;
    for mut import in storage::lock_running(tx, scope).await? {
        let may_import = match import.starter_id {
            Some(starter) => starter_may_import(context, tx, scope, starter).await?,
            None => false,
        };
        if !may_import {
            import.stop(tx.now());
            storage::update(tx, scope, &import).await?;
            audit(tx, caller, scope.org_id(), import.id).await?;
        }
    }
    Ok(())
}
