//! The feed of the service: how a fact is published, and its snapshot over all features.
//!
//! A fact is appended to the feed and applied to the service's own half of the roster projection in one
//! transaction, so that policies here decide by the same projection as elsewhere and never by an older one.
use std::sync::Arc;

use chrono::{DateTime, Utc};
use parta_feed::{self as feed, EventPayload as _, HandleError, Handler as _};
use parta_ids::OrgId;
use parta_proto::parta::membership::v1::membership_event::Payload;
use parta_roster::{Members, NoObserver};
use parta_status::RpcError;
use parta_storage::Tx;

use crate::{assignments, enrollments, error::Error, guardianships, member_records};

/// Publishes a fact.
pub(crate) async fn state(tx: &Tx, org: OrgId, payload: Payload) -> Result<(), Error> {
    let mut event = payload.clone().into_event();
    event.org_id = org.to_string();
    let projected = Members::new(Arc::new(NoObserver)).apply(tx, &event).await;
    projected.map_err(|error| match error {
        HandleError::Storage(error) => Error::Storage(error),
        HandleError::Failed(why) => Error::Refused(RpcError::internal(why)),
    })?;
    feed::append_event(tx, org, payload);
    Ok(())
}

/// The message of a time.
pub(crate) fn timestamp(time: DateTime<Utc>) -> prost_types::Timestamp {
    // Below 2e9 even in a leap second.
    prost_types::Timestamp {
        seconds: time.timestamp(),
        nanos: i32::try_from(time.timestamp_subsec_nanos()).unwrap_or(0),
    }
}

/// Reads a time in whole microseconds, which both databases keep; `None` for one out of range.
pub(crate) fn time(time: &prost_types::Timestamp) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp(time.seconds, u32::try_from(time.nanos).ok()? / 1_000 * 1_000)
}

/// Events that build the present state from nothing.
pub(crate) async fn snapshot(tx: Tx, org: Option<OrgId>) -> Result<Vec<(OrgId, Payload)>, RpcError> {
    let mut events = member_records::events::snapshot(&tx, org).await?;
    events.extend(assignments::snapshot(&tx, org).await?);
    events.extend(enrollments::snapshot(&tx, org).await?);
    events.extend(guardianships::snapshot(&tx, org).await?);
    Ok(events)
}
