//! What the service tells others, and the state of it for whoever begins to follow its feed.
//!
//! A fact goes into the feed and into the service's own half of the roster projection in one transaction: policies here
//! decide by the same projection as everywhere else, and never by an older one.
use std::sync::Arc;

use chrono::{DateTime, Utc};
use parta_feed::{self as feed, EventPayload as _, HandleError, Handler as _};
use parta_ids::OrgId;
use parta_proto::parta::membership::v1::{self as pb, membership_event::Payload};
use parta_roster::{Members, NoObserver};
use parta_status::RpcError;
use parta_storage::{StorageError, Tx};

use crate::{assignments, enrollments, error::Error, guardianships, member_records};

/// States a fact.
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

/// The form in which counts of an import are kept.
pub(crate) fn counts_kept(counts: &pb::RosterImportCounts) -> Vec<u8> {
    prost::Message::encode_to_vec(counts)
}

/// Counts as they were kept in `column`. Counts that cannot be read are not taken for zero.
pub(crate) fn counts_of(column: &'static str, kept: &[u8]) -> Result<pb::RosterImportCounts, StorageError> {
    let length = i64::try_from(kept.len()).unwrap_or(i64::MAX);
    prost::Message::decode(kept).map_err(|_| StorageError::unknown_value(column, length))
}

pub(crate) fn timestamp(time: DateTime<Utc>) -> prost_types::Timestamp {
    // Below 2e9 even in a leap second.
    prost_types::Timestamp {
        seconds: time.timestamp(),
        nanos: i32::try_from(time.timestamp_subsec_nanos()).unwrap_or(0),
    }
}

/// Events that build the present state from nothing.
pub(crate) async fn snapshot(tx: Tx, org: Option<OrgId>) -> Result<Vec<(OrgId, Payload)>, RpcError> {
    let mut events = member_records::events::snapshot(&tx, org).await?;
    events.extend(assignments::snapshot(&tx, org).await?);
    events.extend(enrollments::snapshot(&tx, org).await?);
    events.extend(guardianships::snapshot(&tx, org).await?);
    Ok(events)
}
