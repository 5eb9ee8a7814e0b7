use async_trait::async_trait;
use parta_database::Tx;
use parta_feed::HandleError;
use parta_ids::{InvitationId, JoinRequestId, MemberId, OrgId, UnitId};
use parta_proto_membership::v1::RosterImportStaged;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

/// A change of the projection by an event.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// An organization was added to the projection.
    OrganizationCreated,
    /// The name, time zone or policies of an organization changed.
    OrganizationChanged,
    /// A unit was added to the projection.
    UnitCreated {
        /// The unit.
        unit_id: UnitId,
        /// The roster import that requested the unit, with its key; `None` if a person created it.
        source: Option<(String, String)>,
    },
    /// The label of a unit changed.
    UnitRenamed(UnitId),
    /// A unit was archived.
    UnitArchived(UnitId),
    /// The [`crate::MemberContext`] of a member changed. Also reported for the guardians when the classes of
    /// a child change.
    Member(MemberId),
    /// Staff released the record of a member from its account (F10): from now on, another person is the
    /// member. Reported before the change of the member.
    MemberReleased(MemberId),
    /// A roster import was staged and requests units and invitations.
    RosterImportStaged {
        /// The import and the batch of its changes. A snapshot repeats a request under the same key, so that
        /// a job with this `request_id` is enqueued once.
        key: Uuid,
        /// The requested units and invitations.
        staged: RosterImportStaged,
    },
    /// A request to join by an invitation was decided. A snapshot repeats it.
    JoinDecided {
        /// The request.
        join_request_id: JoinRequestId,
        /// The invitation.
        invitation_id: InvitationId,
        /// The member that the person became; `None` if the person did not join.
        member_id: Option<MemberId>,
    },
    /// The projection was rebuilt from a snapshot: anything in the organization may have changed.
    Resynced,
}

/// Returns the key of a request of an import: the same for the event and for its repetition in a snapshot.
pub(crate) fn staged_key(staged: &RosterImportStaged) -> Uuid {
    let mut digest = Sha256::new();
    digest.update(staged.roster_import_id.as_bytes());
    digest.update(staged.first_change.to_be_bytes());
    digest.update(staged.last_change.to_be_bytes());
    let digest: [u8; 32] = digest.finalize().into();
    let (half, _) = digest.as_chunks::<16>();
    half.first().copied().map_or_else(Uuid::nil, Uuid::from_bytes)
}

/// Acts on changes, in the transaction in which they are applied.
#[async_trait]
pub trait RosterObserver: Send + Sync + 'static {
    /// Acts on changes of one organization, in order, whose rows are all written. A permanent error
    /// quarantines the organization, so the observer writes rows and jobs only, which no rule refuses.
    async fn changed(&self, tx: &Tx, org_id: OrgId, changes: &[Change]) -> Result<(), HandleError>;
}

/// Ignores all changes, for services that only query the roster.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoObserver;

#[async_trait]
impl RosterObserver for NoObserver {
    async fn changed(&self, _tx: &Tx, _org_id: OrgId, _changes: &[Change]) -> Result<(), HandleError> {
        Ok(())
    }
}

/// Several observers, which act one after the other.
pub struct Observers(pub Vec<Box<dyn RosterObserver>>);

#[async_trait]
impl RosterObserver for Observers {
    async fn changed(&self, tx: &Tx, org_id: OrgId, changes: &[Change]) -> Result<(), HandleError> {
        for observer in &self.0 {
            observer.changed(tx, org_id, changes).await?;
        }
        Ok(())
    }
}
