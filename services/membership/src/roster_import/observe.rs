//! Going on when a class that an import wants has been made.
use async_trait::async_trait;
use parta_access::OrgScope;
use parta_feed::HandleError;
use parta_ids::{OrgId, RosterImportId, TypedId as _};
use parta_proto::parta::membership::v1::RosterImportState;
use parta_roster::{Change, RosterObserver};
use parta_storage::{Tx, jobs};

use super::run::{JOB, settle};
use crate::{events, storage::imports};

/// Watches for the classes of running imports, in the transaction by which they become known here.
pub(crate) struct ClassesMade {
    pub(crate) progress: tokio::sync::watch::Sender<u64>,
}

#[async_trait]
impl RosterObserver for ClassesMade {
    async fn changed(&self, tx: &Tx, org: OrgId, change: &Change) -> Result<(), HandleError> {
        let Change::UnitCreated {
            unit_id,
            source: Some((import, _)),
        } = change
        else {
            return Ok(());
        };
        let Ok(id) = import.parse::<RosterImportId>() else {
            return Ok(());
        };
        let scope = OrgScope::for_consumer("membership.roster_import", org);
        let Some(mut import) = imports::lock(tx, &scope, id)
            .await
            .map_err(|error| HandleError::Storage(error.into()))?
        else {
            return Ok(());
        };
        if import.state != i32::from(RosterImportState::Running) {
            return Ok(());
        }
        let mut done = events::counts_of(&import.done);
        done.units += 1;
        settle(&mut import, &done, tx);
        imports::update(tx, &scope, &import)
            .await
            .map_err(|error| HandleError::Storage(error.into()))?;
        // Each class wakes the job once, whether or not it waits for this one.
        jobs::enqueue(tx, JOB, Some(org), id.to_string().into_bytes(), unit_id.uuid()).await?;
        // Heard after the commit by the job; a watcher that looks too early looks again then.
        self.progress.send_modify(|n| *n += 1);
        Ok(())
    }
}
