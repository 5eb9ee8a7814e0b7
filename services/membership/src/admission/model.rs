//! The terms under which a person joins.
use parta_ids::{FlowId, InvitationId, MemberId, OrgId, UnitId};
use parta_roster::Role;

/// The terms of an invitation that a person has accepted.
#[derive(Debug, Clone)]
pub(crate) struct Terms {
    pub(crate) org_id: OrgId,
    pub(crate) invitation_id: InvitationId,
    /// The person and the link, without the account of the person.
    pub(crate) flow_id: FlowId,
    pub(crate) role: Role,
    /// The unit in which a pupil is enrolled.
    pub(crate) unit_id: Option<UnitId>,
    /// The child of a parent.
    pub(crate) child_id: Option<MemberId>,
    /// The expected member whose record the person takes over.
    pub(crate) claim_member_id: Option<MemberId>,
    /// The member who created the invitation; `None` for an invitation of a roster import.
    pub(crate) issuer_id: Option<MemberId>,
}
