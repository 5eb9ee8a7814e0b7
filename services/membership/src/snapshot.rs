//! The snapshot of the feed over all features.
use parta_database::Tx;
use parta_ids::OrgId;
use parta_proto_membership::v1::membership_event::Payload;
use parta_status::RpcError;

use crate::{
    acting_heads, assignments, duties, enrollments, guardianships, join_requests, member_records,
    roster_import, suspensions,
};

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
