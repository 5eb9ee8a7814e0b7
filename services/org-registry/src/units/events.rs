//! Events of units in the service's feed.
use parta_database::{StorageError, Tx};
use parta_ids::{OrgId, optional_text};
use parta_proto::timestamp;
use parta_proto_org_registry::v1::{UnitArchived, UnitCreated, UnitRenamed, org_registry_event::Payload};

use super::{
    model::{ImportSource, Unit},
    storage,
};
use crate::{error::Error, events::publish};

fn creation(unit: &Unit, source: Option<&ImportSource>) -> Payload {
    let import = source.map(|source| source.roster_import_id);
    Payload::UnitCreated(UnitCreated {
        unit_id: unit.id.to_string(),
        kind: unit.kind.number(),
        label: unit.label.clone(),
        roster_import_id: optional_text(import),
        source_key: source.map(|source| source.key.clone()).unwrap_or_default(),
        archived: unit.archive_time.is_some(),
        archive_time: unit.archive_time.map(timestamp),
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
        archive_time: unit.archive_time.map(timestamp),
    };
    publish(tx, unit.org_id, Payload::UnitArchived(archived)).await
}

/// Returns the events that build the current units from an empty state.
pub(crate) async fn snapshot(tx: &Tx, org: OrgId) -> Result<Vec<Payload>, StorageError> {
    let units = storage::list_for_snapshot(tx, org).await?;
    let events = units.iter();
    Ok(events
        .map(|(unit, source)| creation(unit, source.as_ref()))
        .collect())
}
