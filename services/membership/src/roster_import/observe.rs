//! Resumes an import when a class that it waits for was created.
use async_trait::async_trait;
use parta_access::OrgScope;
use parta_database::Tx;
use parta_feed::HandleError;
use parta_ids::{OrgId, RosterImportId, TypedId as _};
use parta_roster::{Change, RosterObserver};

use super::{
    limits::{JOB, NO_LIMIT},
    model::ImportState,
    storage as imports,
    storage::rows,
};

/// Notes that a class was created and enqueues the job of its import, in the transaction that adds the class
/// to the projection.
pub(crate) struct ClassCreatedObserver;

#[async_trait]
impl RosterObserver for ClassCreatedObserver {
    async fn changed(&self, tx: &Tx, org: OrgId, changes: &[Change]) -> Result<(), HandleError> {
        for change in changes {
            match change {
                Change::UnitCreated {
                    unit_id,
                    source: Some((import, key)),
                } => {
                    if let Ok(id) = import.parse::<RosterImportId>() {
                        let scope = &OrgScope::for_consumer(JOB, org);
                        rows::note_created_unit(tx, scope, id, key).await?;
                    }
                    // A snapshot may repeat the event. Then the job finds nothing to do.
                    let import = import.clone().into_bytes();
                    parta_jobs::enqueue(tx, JOB, Some(org), import, unit_id.uuid()).await?;
                }
                // A snapshot names the import that created a class, but not one that found it.
                Change::Resynced => {
                    let scope = &OrgScope::for_consumer(JOB, org);
                    for import in imports::list(tx, scope, None, NO_LIMIT).await? {
                        if import.state == ImportState::Running {
                            let payload = import.id.to_string().into_bytes();
                            let request_id = tx.env().ids.uuid();
                            parta_jobs::enqueue(tx, JOB, Some(org), payload, request_id).await?;
                        }
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }
}
