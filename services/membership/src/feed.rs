//! The feed of the service: publishing events, and its snapshot over all features.
//!
//! An event is appended to the feed and applied to the members' half of the roster projection in one
//! transaction. The policies of this service therefore read the same projection as other services, and it is
//! never stale.
use std::sync::Arc;

use parta_database::Tx;
use parta_feed::{self as feed, EventPayload as _, HandleError, Handler as _};
use parta_ids::OrgId;
use parta_proto_membership::v1::membership_event::Payload;
use parta_roster::{Members, NoObserver};
use parta_status::RpcError;

use crate::{
    assignments, duties, enrollments, error::Error, guardianships, member_records, roster_import, suspensions,
};

/// Appends an event to the feed and applies it to the projection.
pub(crate) async fn state(tx: &Tx, org: OrgId, payload: Payload) -> Result<(), Error> {
    let event = payload.clone().into_event();
    let projected = Members::new(Arc::new(NoObserver)).apply(tx, org, &[event]).await;
    projected.map_err(|error| match error {
        HandleError::Storage(error) => Error::Storage(error),
        HandleError::Failed(why) => Error::Refused(RpcError::internal(why)),
    })?;
    feed::append_event(tx, org, payload);
    Ok(())
}

/// Whether an event is withheld from service accounts: they learn of no protected family (reach.md 13).
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
    events.extend(suspensions::snapshot(&tx, org).await?);
    events.extend(roster_import::snapshot(&tx, org).await?);
    Ok(events)
}
