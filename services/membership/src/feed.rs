//! The publication of events in the feed of the service.
use std::sync::Arc;

use parta_database::Tx;
use parta_ids::OrgId;
use parta_proto_membership::v1::membership_event::Payload;
use parta_roster::{Members, NoObserver};

use crate::error::Error;

/// Publishes an event; see [`parta_roster::publish`].
pub(crate) async fn state(tx: &Tx, org: OrgId, payload: Payload) -> Result<(), Error> {
    let members = Members::new(Arc::new(NoObserver));
    Ok(parta_roster::publish(tx, org, &members, payload).await?)
}

/// Publishes events in their order; see [`parta_roster::publish_all`].
pub(crate) async fn states(tx: &Tx, org: OrgId, payloads: Vec<Payload>) -> Result<(), Error> {
    let members = Members::new(Arc::new(NoObserver));
    Ok(parta_roster::publish_all(tx, org, &members, payloads).await?)
}

/// Whether an event is withheld from service accounts: they learn of no protected family (F13).
pub(crate) fn is_withheld(payload: &Payload) -> bool {
    matches!(payload, Payload::FamilyProtectionChanged(_))
}
