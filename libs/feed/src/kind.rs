use chrono::{DateTime, Utc};
use parta_ids::{EventId, OrgId};
use parta_proto::{FeedEvent, timestamp};

/// The fields that every event has in addition to its payload.
#[derive(Debug, Clone)]
pub(crate) struct EventMeta {
    pub(crate) event_id: EventId,
    /// The organization it belongs to.
    pub(crate) org_id: OrgId,
    /// The position in the log.
    pub(crate) position: i64,
    pub(crate) occur_time: DateTime<Utc>,
    /// The W3C `traceparent` of the cause; empty if there is none.
    pub(crate) trace_parent: String,
}

impl EventMeta {
    /// Sets the fields in an event.
    pub(crate) fn set(self, event: &mut impl FeedEvent) {
        event.set_meta(parta_proto::EventMeta {
            event_id: self.event_id.to_string(),
            org_id: self.org_id.to_string(),
            position: self.position,
            occur_time: timestamp(self.occur_time),
            trace_parent: self.trace_parent,
        });
    }
}
