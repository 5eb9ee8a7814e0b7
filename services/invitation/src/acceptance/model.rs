//! Reservations: types.
use chrono::{DateTime, Utc};
use parta_ids::{FlowId, InvitationId, JoinRequestId, MemberId, OrgId, ReservationId};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Stage {
    /// The use is reserved; the decision of membership is not known yet.
    Pending,
    /// Staff decides whether the person joins; the use stays reserved.
    Requested(JoinRequestId),
    /// The person has joined.
    Confirmed(MemberId),
    /// Membership or staff refused for this reason; the use was released.
    Released(String),
}

/// The use of a link by one join flow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reservation {
    /// Its UUID is the `request_id` of the call to membership.
    pub(crate) id: ReservationId,
    pub(crate) org_id: OrgId,
    pub(crate) invitation_id: InvitationId,
    pub(crate) flow_id: FlowId,
    /// The issuer of the link when the use was reserved. Another member may adopt the link meanwhile, but the
    /// call to membership stays the same.
    pub(crate) issuer_id: Option<MemberId>,
    pub(crate) stage: Stage,
}

/// A member who joined with a link, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LinkUse {
    pub(crate) reservation_id: ReservationId,
    pub(crate) member_id: MemberId,
    pub(crate) use_time: DateTime<Utc>,
}
