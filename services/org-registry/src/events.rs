//! Publishing events of the service.
use std::sync::Arc;

use parta_database::Tx;
use parta_ids::OrgId;
use parta_proto_org_registry::v1::org_registry_event::Payload;
use parta_roster::{NoObserver, Organizations};

use crate::error::Error;

/// Publishes an event; see [`parta_roster::publish`].
pub(crate) async fn publish(tx: &Tx, org: OrgId, payload: Payload) -> Result<(), Error> {
    let organizations = Organizations::new(Arc::new(NoObserver));
    Ok(parta_roster::publish(tx, org, &organizations, payload).await?)
}
