//! The effects of changes of the roster on links: roster imports create them, and the release of a record
//! revokes those that name it.
use async_trait::async_trait;
use parta_access::{Caller, OrgScope, Principal, Secrets};
use parta_database::Tx;
use parta_feed::HandleError;
use parta_ids::{OrgId, RosterImportId, TypedId};
use parta_proto_membership::v1::RosterImportStaged;
use parta_roster::{Change, CreateStaged, RosterObserver, StagedImportObserver};
use parta_status::RpcError;

use super::{events::role_from_proto, operations, storage};
use crate::error::Error;

/// Name of the consumer that revokes the links of released records.
const RELEASE: &str = "invitation.release";

/// The kind of the job that creates the links of a staged roster import.
pub(crate) const IMPORT_JOB: &str = "invitation.create_imported_links";

/// Enqueues [`IMPORT_JOB`].
pub(crate) const IMPORT_OBSERVER: StagedImportObserver = StagedImportObserver {
    job: IMPORT_JOB,
    part: |staged| {
        (!staged.invitations.is_empty()).then(|| RosterImportStaged {
            units: Vec::new(),
            ..staged.clone()
        })
    },
};

/// Revokes the links that name a record which staff released: they were made before, and may be in the hands
/// of the person from whom the record was taken (F10).
pub(crate) struct ReleaseObserver;

#[async_trait]
impl RosterObserver for ReleaseObserver {
    async fn changed(&self, tx: &Tx, org: OrgId, changes: &[Change]) -> Result<(), HandleError> {
        let scope = &OrgScope::for_consumer(RELEASE, org);
        let service = Principal::Service {
            name: tx.db().service().to_owned(),
        };
        let caller = &Caller::new(service, RELEASE);
        for change in changes {
            let Change::MemberReleased(member) = change else {
                continue;
            };
            let links = storage::list_claims(tx, scope, *member).await?;
            operations::revoke(tx, caller, scope, &links).await?;
        }
        Ok(())
    }
}

/// Creates the links in [`IMPORT_JOB`].
pub(crate) struct CreateImportedLinks {
    pub(crate) secrets: Secrets,
}

#[async_trait]
impl CreateStaged for CreateImportedLinks {
    type Error = Error;

    async fn create(&self, tx: &Tx, org: OrgId, part: &RosterImportStaged) -> Result<(), Error> {
        let import: RosterImportId = event_id(&part.roster_import_id)?;
        let scope = &OrgScope::for_consumer(operations::IMPORT, org);
        for expected in &part.invitations {
            let Some(role) = role_from_proto(expected.role()) else {
                tracing::error!(org.id = %org, import.id = %import, "staged import names a role that links do not give");
                continue;
            };
            let member = event_id(&expected.member_id)?;
            operations::create_imported(tx, &self.secrets, scope, import, member, role).await?;
        }
        Ok(())
    }
}

/// Parses an id of an event of membership.
fn event_id<T: TypedId>(text: &str) -> Result<T, RpcError> {
    text.parse()
        .map_err(|error| RpcError::internal(format!("`{text}` is not a {} id: {error}", T::PREFIX)))
}
