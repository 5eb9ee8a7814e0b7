//! Consumes the changes of the roster.
use async_trait::async_trait;
use parta_access::OrgScope;
use parta_database::Tx;
use parta_feed::HandleError;
use parta_ids::OrgId;
use parta_roster::{Change, RosterObserver};

use super::AudienceUpdater;
use crate::entries::lock_roster;

#[async_trait]
impl RosterObserver for AudienceUpdater {
    async fn changed(&self, tx: &Tx, org: OrgId, change: &Change) -> Result<(), HandleError> {
        let scope = &OrgScope::for_consumer("chat.roster", org);
        lock_roster(tx, org, true).await?;
        match change {
            Change::OrganizationCreated => {
                self.ensure_organization(tx, scope).await?;
                self.recompute_all(tx, scope).await
            }
            Change::OrganizationChanged => self.recompute_all(tx, scope).await,
            Change::UnitCreated { unit_id, .. } => {
                self.ensure_unit(tx, scope, *unit_id).await?;
                let members = self.roster()?.members_of_unit(tx, org, *unit_id).await?;
                self.recompute(tx, scope, &members).await
            }
            Change::UnitRenamed(unit_id) | Change::UnitArchived(unit_id) => {
                self.ensure_unit(tx, scope, *unit_id).await
            }
            Change::Member(member) => self.recompute(tx, scope, &[*member]).await,
            Change::Resynced => {
                self.ensure_organization(tx, scope).await?;
                for unit in self.roster()?.units(tx, org).await? {
                    self.ensure_unit(tx, scope, unit.unit_id).await?;
                }
                self.recompute_all(tx, scope).await
            }
            Change::RosterImportStaged(_) => Ok(()),
        }
    }
}
