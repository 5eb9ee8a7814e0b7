//! The feed of the service: publishing events, and its snapshot over all features.
use std::sync::Arc;

use parta_database::Tx;
use parta_ids::OrgId;
use parta_proto_membership::v1::membership_event::Payload;
use parta_roster::{Members, NoObserver};
use parta_status::RpcError;

use crate::{
    acting_heads, assignments, duties, enrollments, error::Error, guardianships, join_requests,
    member_records, roster_import, suspensions,
};

/// Publishes an event; see [`parta_roster::publish`].
pub(crate) async fn state(tx: &Tx, org: OrgId, payload: Payload) -> Result<(), Error> {
    let members = Members::new(Arc::new(NoObserver));
    Ok(parta_roster::publish(tx, org, &members, payload).await?)
}

/// Whether an event is withheld from service accounts: they learn of no protected family (F13).
pub(crate) fn is_withheld(payload: &Payload) -> bool {
    matches!(payload, Payload::FamilyProtectionChanged(_))
}

/// Returns the events that build the current state from an empty one.
pub(crate) async fn snapshot(tx: Tx, org: OrgId) -> Result<Vec<Payload>, RpcError> {
    let mut events = member_records::events::snapshot(&tx, org).await?;
    events.extend(assignments::snapshot(&tx, org).await?);
    events.extend(enrollments::snapshot(&tx, org).await?);
    events.extend(guardianships::snapshot(&tx, org).await?);
    events.extend(duties::snapshot(&tx, org).await?);
    events.extend(acting_heads::snapshot(&tx, org).await?);
    events.extend(suspensions::snapshot(&tx, org).await?);
    events.extend(join_requests::snapshot(&tx, org).await?);
    events.extend(roster_import::snapshot(&tx, org).await?);
    Ok(events)
}
