use std::{
    collections::BTreeSet,
    sync::{PoisonError, RwLock},
    time::Duration,
};

use parta_database::Db;
use parta_feed::list_quarantined;
use parta_ids::OrgId;
use parta_roster::Roster;
use parta_status::{RpcError, quarantined};
use tokio_util::sync::CancellationToken;

/// The quarantined organizations, loaded once a second and not for every message.
#[derive(Default)]
pub(crate) struct Quarantined(RwLock<BTreeSet<OrgId>>);

impl Quarantined {
    /// Refuses if the projection is too old or the organization is quarantined. Runs no query.
    pub(crate) fn require(&self, roster: &Roster, org: OrgId) -> Result<(), RpcError> {
        for freshness in roster.freshness() {
            freshness.require()?;
        }
        if self
            .0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .contains(&org)
        {
            return Err(quarantined("chat"));
        }
        Ok(())
    }

    /// Reloads the quarantined organizations until canceled.
    pub(crate) async fn run(&self, db: &Db, cancel: CancellationToken) -> anyhow::Result<()> {
        let mut tick = tokio::time::interval(Duration::from_secs(1));
        loop {
            tokio::select! {
                () = cancel.cancelled() => return Ok(()),
                _ = tick.tick() => {}
            }
            let found = list_quarantined(db.conn())
                .await?
                .into_iter()
                .map(|quarantined| quarantined.org_id)
                .collect();
            *self.0.write().unwrap_or_else(PoisonError::into_inner) = found;
        }
    }
}
