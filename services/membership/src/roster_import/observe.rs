//! Resumes an import when a class that it waits for was made.
use async_trait::async_trait;
use parta_database::Tx;
use parta_feed::HandleError;
use parta_ids::{OrgId, TypedId as _};
use parta_roster::{Change, RosterObserver};

use super::run::JOB;

/// Enqueues the job of an import in the transaction in which one of its classes becomes known here.
pub(crate) struct ClassesMade;

#[async_trait]
impl RosterObserver for ClassesMade {
    async fn changed(&self, tx: &Tx, org: OrgId, change: &Change) -> Result<(), HandleError> {
        if let Change::UnitCreated {
            unit_id,
            source: Some((import, _)),
        } = change
        {
            // A snapshot may repeat the event; the job then finds nothing to do.
            parta_jobs::enqueue(tx, JOB, Some(org), import.clone().into_bytes(), unit_id.uuid()).await?;
        }
        Ok(())
    }
}
