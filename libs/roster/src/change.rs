use async_trait::async_trait;
use parta_feed::HandleError;
use parta_ids::{MemberId, OrgId, ServiceAccountId, SessionId, UnitId};
use parta_proto::parta::membership::v1::RosterImportStaged;
use parta_storage::Tx;

/// What a handled event changed in the projection.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// An organization came to be known.
    OrganizationCreated,
    /// An organization's name, zone or policies changed.
    OrganizationChanged,
    /// A unit came to be known.
    UnitCreated {
        /// The unit.
        unit_id: UnitId,
        /// The roster import that asked for it, with its key; empty where a person made it.
        source: Option<(String, String)>,
    },
    /// A unit's label changed.
    UnitRenamed(UnitId),
    /// A unit was archived.
    UnitArchived(UnitId),
    /// Something of a member's facts changed. Told for the guardians too when a child's classes changed.
    Member(MemberId),
    /// A session ended before its time.
    SessionRevoked(SessionId),
    /// A service account lost its access.
    ServiceAccountRevoked(ServiceAccountId),
    /// A roster import wants units and invitations.
    RosterImportStaged(RosterImportStaged),
    /// The projection was rebuilt from a snapshot: anything of the organization may differ.
    Resynced,
}

/// What a service does about a change, in the transaction in which it is applied.
#[async_trait]
pub trait RosterObserver: Send + Sync + 'static {
    /// Acts on the change. An error that does not pass parks the organization.
    async fn changed(&self, tx: &Tx, org_id: OrgId, change: &Change) -> Result<(), HandleError>;
}

/// Does nothing: for services that only ask.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoObserver;

#[async_trait]
impl RosterObserver for NoObserver {
    async fn changed(&self, _tx: &Tx, _org_id: OrgId, _change: &Change) -> Result<(), HandleError> {
        Ok(())
    }
}
