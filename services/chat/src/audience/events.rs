//! Consumes the changes of the roster.
use std::collections::BTreeSet;

use async_trait::async_trait;
use parta_access::OrgScope;
use parta_database::Tx;
use parta_feed::HandleError;
use parta_ids::{MemberId, OrgId, UnitId};
use parta_roster::{Change, RosterObserver};

use super::AudienceUpdater;
use crate::entries::{self, lock_roster};

#[async_trait]
impl RosterObserver for AudienceUpdater {
    async fn changed(&self, tx: &Tx, org: OrgId, changes: &[Change]) -> Result<(), HandleError> {
        let affected = Affected::by(changes);
        if affected == Affected::default() {
            return Ok(());
        }
        let scope = &OrgScope::for_consumer("chat.roster", org);
        lock_roster(tx, org, true).await?;
        let mut left_behind = BTreeSet::new();
        for member in &affected.released {
            left_behind.extend(entries::seal_chats_of(tx, &*self.sink, scope, *member).await?);
        }
        // A snapshot of a lost organization, or one that overtakes the other feed, has no organization.
        if affected.organization_created && self.roster()?.organization(tx, org).await?.is_some() {
            self.ensure_organization(tx, scope).await?;
        }
        let mut units = affected.units;
        if affected.resynced {
            let all = self.roster()?.units(tx, org).await?;
            units.extend(all.into_iter().map(|unit| unit.unit_id));
        }
        for unit in units {
            self.ensure_unit(tx, scope, unit).await?;
        }
        if affected.everybody {
            return self.recompute_all(tx, scope).await;
        }
        let mut members = affected.members;
        // They may have been in a named chat under the responsibility of the member who left it.
        members.extend(left_behind);
        for unit in affected.concerned_units {
            members.extend(self.roster()?.members_concerned_by_unit(tx, org, unit).await?);
        }
        let members: Vec<MemberId> = members.into_iter().collect();
        self.recompute(tx, scope, &members).await
    }
}

/// The parts of the chats that a batch of changes affects, so that each is computed once.
#[derive(Debug, Default, PartialEq)]
struct Affected {
    organization_created: bool,
    resynced: bool,
    /// Whether the rights of every member may have changed.
    everybody: bool,
    /// The units whose chats may have changed.
    units: BTreeSet<UnitId>,
    /// The units whose members may have other rights now. Members may belong to a unit before it is known.
    concerned_units: BTreeSet<UnitId>,
    members: BTreeSet<MemberId>,
    /// The members whose records were released from their accounts.
    released: BTreeSet<MemberId>,
}

impl Affected {
    fn by(changes: &[Change]) -> Self {
        let mut affected = Self::default();
        for change in changes {
            match change {
                Change::OrganizationCreated => {
                    affected.organization_created = true;
                    affected.everybody = true;
                }
                Change::OrganizationChanged => affected.everybody = true,
                Change::UnitCreated { unit_id, .. } => {
                    affected.units.insert(*unit_id);
                    affected.concerned_units.insert(*unit_id);
                }
                // The grade of a class decides who writes to whom, and an archived unit is a ground for
                // nothing new, so that the personal chats of its members change.
                Change::UnitRenamed(unit_id) | Change::UnitArchived(unit_id) => {
                    affected.units.insert(*unit_id);
                    affected.concerned_units.insert(*unit_id);
                }
                Change::Member(member) => {
                    affected.members.insert(*member);
                }
                Change::MemberReleased(member) => {
                    affected.released.insert(*member);
                }
                Change::Resynced => {
                    affected.organization_created = true;
                    affected.resynced = true;
                    affected.everybody = true;
                }
                Change::RosterImportStaged { .. } | Change::JoinDecided { .. } => {}
            }
        }
        affected
    }
}
