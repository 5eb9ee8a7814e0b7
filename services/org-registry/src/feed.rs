//! The state of the service as events, for whoever begins to follow its feed.

use parta_ids::OrgId;
use parta_proto::parta::org_registry::v1::{OrganizationCreated, UnitCreated, org_registry_event::Payload};
use parta_status::RpcError;
use parta_storage::Tx;

use crate::{convert, organizations::storage as organizations, units::storage as units};

/// Events that build the present state from nothing: organizations first, then their units.
pub(crate) async fn snapshot(tx: Tx, only: Option<OrgId>) -> Result<Vec<(OrgId, Payload)>, RpcError> {
    let mut events = Vec::new();
    for made in organizations::list(&tx, only, None, i64::MAX as u64).await? {
        let created = OrganizationCreated {
            display_name: made.display_name.clone(),
            kind: made.kind.into(),
            time_zone: made.time_zone.clone(),
            policies: Some(convert::policies(&made.policies, made.policies_version)),
        };
        events.push((made.id, Payload::OrganizationCreated(created)));
    }
    for (unit, source) in units::list_for_snapshot(&tx, only).await? {
        let created = UnitCreated {
            unit_id: unit.id.to_string(),
            kind: unit.kind.into(),
            label: unit.label.clone(),
            roster_import_id: source.roster_import_id,
            source_key: source.source_key,
            archived: unit.archive_time.is_some(),
        };
        events.push((unit.org_id, Payload::UnitCreated(created)));
    }
    Ok(events)
}
