use chrono::{DateTime, Utc};
use parta_ids::{EventId, OrgId};
use parta_proto::parta::{call_scheduling, chat, invitation, membership, org_registry};
use prost::Message;

/// The fields that every event has in addition to its payload.
#[derive(Debug, Clone)]
pub struct EventMeta {
    /// The id of the event.
    pub event_id: EventId,
    /// The organization it belongs to.
    pub org_id: OrgId,
    /// The position in the log.
    pub position: i64,
    /// The time of the event.
    pub occur_time: DateTime<Utc>,
    /// The W3C `traceparent` of the cause; empty if there is none.
    pub trace_parent: String,
}

/// The feed of one service: its name and its generated types.
pub trait FeedKind: Send + Sync + 'static {
    /// The name of the service.
    const SERVICE: &'static str;
    /// The generated event message.
    type Event: FeedEvent<Payload = Self::Payload>;
    /// The generated oneof of its payloads.
    type Payload: EventPayload<Event = Self::Event>;
}

/// A generated event message.
pub trait FeedEvent: Message + Default + Clone + Send + Sync + 'static {
    /// The generated oneof of its payloads.
    type Payload: EventPayload<Event = Self>;
    /// Sets the fields that the log stores in addition to the payload.
    fn set_meta(&mut self, meta: &EventMeta);
    /// Returns the id of the event, `evt_...`.
    fn event_id(&self) -> &str;
    /// Returns the id of the organization, `org_...`.
    fn org_id(&self) -> &str;
    /// Returns the position in the log.
    fn position(&self) -> i64;
    /// Returns the payload; `None` if a newer release wrote it.
    fn payload(&self) -> Option<&Self::Payload>;
}

/// A generated oneof of payloads.
pub trait EventPayload: Clone + Send + Sync + 'static {
    /// The event message that contains the payload.
    type Event: FeedEvent<Payload = Self>;
    /// Returns an event with only this payload.
    fn into_event(self) -> Self::Event;
}

macro_rules! feed_kind {
    ($(#[$doc:meta])* $kind:ident, $service:literal, $package:path, $event:ident, $oneof:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy)]
        pub struct $kind;

        const _: () = {
            use $package as pb;

            impl FeedKind for $kind {
                const SERVICE: &'static str = $service;
                type Event = pb::$event;
                type Payload = pb::$oneof::Payload;
            }
            impl FeedEvent for pb::$event {
                type Payload = pb::$oneof::Payload;
                fn set_meta(&mut self, meta: &EventMeta) {
                    self.event_id = meta.event_id.to_string();
                    self.org_id = meta.org_id.to_string();
                    self.position = meta.position;
                    self.occur_time = Some(timestamp(meta.occur_time));
                    self.trace_parent.clone_from(&meta.trace_parent);
                }
                fn event_id(&self) -> &str {
                    &self.event_id
                }
                fn org_id(&self) -> &str {
                    &self.org_id
                }
                fn position(&self) -> i64 {
                    self.position
                }
                fn payload(&self) -> Option<&Self::Payload> {
                    self.payload.as_ref()
                }
            }
            impl EventPayload for pb::$oneof::Payload {
                type Event = pb::$event;
                fn into_event(self) -> Self::Event {
                    pb::$event { payload: Some(self), ..Default::default() }
                }
            }
        };
    };
}

pub(crate) fn timestamp(time: DateTime<Utc>) -> prost_types::Timestamp {
    prost_types::Timestamp {
        seconds: time.timestamp(),
        // Less than 2e9 even in a leap second.
        nanos: i32::try_from(time.timestamp_subsec_nanos()).unwrap_or(0),
    }
}

feed_kind!(
    /// The feed of org-registry.
    OrgRegistryFeed, "org-registry", org_registry::v1, OrgRegistryEvent, org_registry_event
);
feed_kind!(
    /// The feed of membership.
    MembershipFeed, "membership", membership::v1, MembershipEvent, membership_event
);
feed_kind!(
    /// The feed of invitation.
    InvitationFeed, "invitation", invitation::v1, InvitationEvent, invitation_event
);
feed_kind!(
    /// The feed of chat.
    ChatFeed, "chat", chat::v1, ChatEvent, chat_event
);
feed_kind!(
    /// The feed of call-scheduling.
    CallSchedulingFeed, "call-scheduling", call_scheduling::v1, CallSchedulingEvent, call_scheduling_event
);
