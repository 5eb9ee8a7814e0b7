//! Resumes an import when a class that it waits for was created.
use async_trait::async_trait;
use parta_database::Tx;
use parta_feed::HandleError;
use parta_ids::{OrgId, TypedId as _};
use parta_roster::{Change, RosterObserver};

use super::run::JOB;

/// Enqueues the job of an import in the transaction that adds one of its classes to the projection.
pub(crate) struct ClassCreatedObserver;

#[async_trait]
impl RosterObserver for ClassCreatedObserver {
    async fn changed(&self, tx: &Tx, org: OrgId, changes: &[Change]) -> Result<(), HandleError> {
        for change in changes {
            if let Change::UnitCreated {
                unit_id,
                source: Some((import, _)),
            } = change
            {
                // A snapshot may repeat the event. Then the job finds nothing to do.
                let import = import.clone().into_bytes();
                parta_jobs::enqueue(tx, JOB, Some(org), import, unit_id.uuid()).await?;
            }
        }
        Ok(())
    }
}
