//! Making the units that a roster import staged, as membership's feed tells of it.

use async_trait::async_trait;
use parta_access::OrgScope;
use parta_feed::HandleError;
use parta_ids::{OrgId, UnitId};
use parta_proto::parta::{membership::v1::RosterImportStaged, org_registry::v1::UnitKind};
use parta_roster::{Change, RosterObserver};
use parta_status::RpcError;
use parta_storage::Tx;

use super::storage::{self as units, Source};
use crate::{
    applications::{model::Unit, operations::unit_created},
    context::announce,
    error::Error,
};

/// Makes the classes of roster imports.
pub(crate) struct ImportObserver;

#[async_trait]
impl RosterObserver for ImportObserver {
    async fn changed(&self, tx: &Tx, org: OrgId, change: &Change) -> Result<(), HandleError> {
        match change {
            Change::RosterImportStaged(staged) => {
                make(tx, org, staged).await.map_err(|e| RpcError::from(e).into())
            }
            _ => Ok(()),
        }
    }
}

async fn make(tx: &Tx, org: OrgId, staged: &RosterImportStaged) -> Result<(), Error> {
    let scope = OrgScope::for_consumer("org-registry", org);
    for wanted in &staged.units {
        let source = Source {
            roster_import_id: staged.roster_import_id.clone(),
            source_key: wanted.source_key.clone(),
        };
        // Somebody may have made the class by hand since the import was checked: then the event tells of that one.
        let unit = match units::find_by_label(tx, &scope, UnitKind::Class, &wanted.label).await? {
            Some(known) => units::find(tx, &scope, known)
                .await?
                .ok_or(Error::UnknownUnit(known))?,
            None => {
                let unit = Unit {
                    id: tx.env().id::<UnitId>(),
                    org_id: org,
                    kind: UnitKind::Class,
                    label: wanted.label.trim().to_owned(),
                    create_time: tx.now(),
                    archive_time: None,
                    revision: 1,
                };
                units::insert(tx, &scope, &unit, &source).await?;
                unit
            }
        };
        announce(tx, org, unit_created(&unit, &source)).await?;
    }
    Ok(())
}
