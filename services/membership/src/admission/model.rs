use parta_ids::{FlowId, InvitationId, MemberId, OrgId, UnitId};
use parta_roster::Role;

/// The terms of an invitation that a join flow has accepted.
#[derive(Debug, Clone)]
pub(crate) struct Terms {
    pub(crate) org_id: OrgId,
    pub(crate) invitation_id: InvitationId,
    pub(crate) flow_id: FlowId,
    pub(crate) role: Role,
    /// The unit in which a pupil is enrolled.
    pub(crate) unit_id: Option<UnitId>,
    /// The child of a parent.
    pub(crate) child_id: Option<MemberId>,
    /// The expected member whose record the person takes over.
    pub(crate) claim_member_id: Option<MemberId>,
    /// The member who made the link; `None` for a link of a roster import.
    pub(crate) issuer_id: Option<MemberId>,
}
