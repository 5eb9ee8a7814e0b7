use std::{
    collections::BTreeSet,
    sync::{PoisonError, RwLock},
    time::Duration,
};

use parta_feed::list_parked;
use parta_ids::OrgId;
use parta_proto::parta::status::v1::ErrorReason;
use parta_roster::Roster;
use parta_status::RpcError;
use parta_storage::Db;
use tokio_util::sync::CancellationToken;

/// Which organizations wait for the operator, looked up once a second instead of once a message.
#[derive(Default)]
pub(crate) struct Quarantined(RwLock<BTreeSet<OrgId>>);

impl Quarantined {
    /// Refuses while the projection is too old or the organization is quarantined; asks no database.
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
            return Err(RpcError::new(
                ErrorReason::OrganizationParked,
                "The organization waits for the operator.",
            )
            .meta("service", "chat")
            .retry_after(Duration::from_secs(60)));
        }
        Ok(())
    }

    /// Follows the table until `cancel`.
    pub(crate) async fn run(&self, db: &Db, cancel: CancellationToken) -> anyhow::Result<()> {
        let mut tick = tokio::time::interval(Duration::from_secs(1));
        loop {
            tokio::select! {
                () = cancel.cancelled() => return Ok(()),
                _ = tick.tick() => {}
            }
            let found = list_parked(db.conn())
                .await?
                .into_iter()
                .map(|quarantined| quarantined.org_id)
                .collect();
            *self.0.write().unwrap_or_else(PoisonError::into_inner) = found;
        }
    }
}
