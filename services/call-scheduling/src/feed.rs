//! The state of the service as events, for whoever begins to follow its feed.
use parta_ids::OrgId;
use parta_proto::parta::call_scheduling::v1::{
    CallCancelled, CallPlanned, OccurrenceCancelled, call_scheduling_event::Payload,
};
use parta_status::RpcError;
use parta_storage::{StorageError, Tx};

use crate::calls::{
    grpc::convert::timestamp,
    storage::{calls, occurrences},
};

/// Events that build the present state from nothing.
pub(crate) async fn snapshot(tx: Tx, org: Option<OrgId>) -> Result<Vec<(OrgId, Payload)>, RpcError> {
    let mut events = Vec::new();
    for (org, call, unit, start, cancelled) in calls::list_for_snapshot(&tx, org)
        .await
        .map_err(StorageError::from)?
    {
        let call_id = call.to_string();
        let planned = CallPlanned {
            call_id: call_id.clone(),
            unit_id: unit.to_string(),
            start_time: Some(timestamp(start)),
        };
        events.push((org, Payload::CallPlanned(planned)));
        if cancelled {
            events.push((org, Payload::CallCancelled(CallCancelled { call_id })));
        }
    }
    for (org, call, start) in occurrences::list_for_snapshot(&tx, org)
        .await
        .map_err(StorageError::from)?
    {
        let cancelled = OccurrenceCancelled {
            call_id: call.to_string(),
            start_time: Some(timestamp(start)),
        };
        events.push((org, Payload::OccurrenceCancelled(cancelled)));
    }
    Ok(events)
}
