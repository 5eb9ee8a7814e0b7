//! Events of units in the service's feed, and the roster imports that create classes.
use async_trait::async_trait;
use parta_access::OrgScope;
use parta_database::{StorageError, Tx};
use parta_feed::HandleError;
use parta_ids::{OrgId, RosterImportId, optional_text};
use parta_proto_membership::v1::RosterImportStaged;
use parta_proto_org_registry::v1::{UnitArchived, UnitCreated, UnitRenamed, org_registry_event::Payload};
use parta_roster::{Change, RosterObserver};
use parta_status::RpcError;

use super::{
    model::{ImportSource, Unit},
    operations, storage,
};
use crate::{error::Error, events::publish};

/// Name of the consumer that creates the classes of roster imports.
const IMPORT: &str = "org-registry.import";

fn creation(unit: &Unit, source: Option<&ImportSource>) -> Payload {
    let import = source.map(|source| source.roster_import_id);
    Payload::UnitCreated(UnitCreated {
        unit_id: unit.id.to_string(),
        kind: unit.kind.number(),
        label: unit.label.clone(),
        roster_import_id: optional_text(import),
        source_key: source.map(|source| source.key.clone()).unwrap_or_default(),
        archived: unit.archive_time.is_some(),
    })
}

pub(super) async fn created(tx: &Tx, unit: &Unit, source: Option<&ImportSource>) -> Result<(), Error> {
    publish(tx, unit.org_id, creation(unit, source)).await
}

pub(super) async fn renamed(tx: &Tx, unit: &Unit) -> Result<(), Error> {
    let renamed = UnitRenamed {
        unit_id: unit.id.to_string(),
        label: unit.label.clone(),
    };
    publish(tx, unit.org_id, Payload::UnitRenamed(renamed)).await
}

pub(super) async fn archived(tx: &Tx, unit: &Unit) -> Result<(), Error> {
    let archived = UnitArchived {
        unit_id: unit.id.to_string(),
    };
    publish(tx, unit.org_id, Payload::UnitArchived(archived)).await
}

/// Returns the events that build the current units from an empty state.
pub(crate) async fn snapshot(tx: &Tx, org: Option<OrgId>) -> Result<Vec<(OrgId, Payload)>, StorageError> {
    let units = storage::list_for_snapshot(tx, org).await?;
    let events = units.iter();
    Ok(events
        .map(|(unit, source)| (unit.org_id, creation(unit, source.as_ref())))
        .collect())
}

/// Creates the classes of a staged roster import in the transaction that moves the cursor of the roster.
pub(crate) struct ImportObserver;

#[async_trait]
impl RosterObserver for ImportObserver {
    async fn changed(&self, tx: &Tx, org: OrgId, change: &Change) -> Result<(), HandleError> {
        let Change::RosterImportStaged(staged) = change else {
            return Ok(());
        };
        create_requested_units(tx, org, staged)
            .await
            .map_err(|error| match error {
                Error::Storage(error) => error.into(),
                other => RpcError::from(other).into(),
            })
    }
}

async fn create_requested_units(tx: &Tx, org: OrgId, staged: &RosterImportStaged) -> Result<(), Error> {
    let roster_import_id: RosterImportId = staged
        .roster_import_id
        .parse()
        .map_err(|error| RpcError::internal(format!("a staged import has no id: {error}")))?;
    let scope = &OrgScope::for_consumer(IMPORT, org);
    for requested in &staged.units {
        let source = ImportSource {
            roster_import_id,
            key: requested.source_key.clone(),
        };
        operations::create_imported(tx, scope, requested.label.trim(), &source).await?;
    }
    Ok(())
}
