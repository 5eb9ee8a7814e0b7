//! The effects of changes of the roster on links: roster imports create them, and the release of a record
//! revokes those that name it.
use async_trait::async_trait;
use parta_access::{Caller, OrgScope, Principal, Secrets};
use parta_database::{Db, Tx};
use parta_feed::HandleError;
use parta_ids::{OrgId, RosterImportId, TypedId};
use parta_jobs::{Job, JobError, JobHandler};
use parta_proto_membership::v1::RosterImportStaged;
use parta_roster::{Change, RosterObserver};
use parta_status::RpcError;
use prost::Message as _;
use tonic::Code;

use super::{events::role_from_proto, operations, storage};
use crate::error::Error;

/// Name of the consumer that revokes the links of released records.
const RELEASE: &str = "invitation.release";

/// The kind of the job that creates the links of a staged roster import.
pub(crate) const IMPORT_JOB: &str = "invitation.create_imported_links";

/// Enqueues the job that creates the links of a staged roster import. The handler of the feed itself decides
/// nothing that a rule could refuse.
pub(crate) struct ImportObserver;

#[async_trait]
impl RosterObserver for ImportObserver {
    async fn changed(&self, tx: &Tx, org: OrgId, changes: &[Change]) -> Result<(), HandleError> {
        for change in changes {
            let Change::RosterImportStaged { key, staged } = change else {
                continue;
            };
            if staged.invitations.is_empty() {
                continue;
            }
            let payload = RosterImportStaged {
                units: Vec::new(),
                ..staged.clone()
            };
            let payload = payload.encode_to_vec();
            parta_jobs::enqueue(tx, IMPORT_JOB, Some(org), payload, *key).await?;
        }
        Ok(())
    }
}

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

/// Runs [`IMPORT_JOB`].
pub(crate) struct CreateImportedLinks {
    pub(crate) db: Db,
    pub(crate) secrets: Secrets,
}

#[async_trait]
impl JobHandler for CreateImportedLinks {
    async fn run(&self, job: &Job) -> Result<(), JobError> {
        let (Ok(staged), Some(org)) = (RosterImportStaged::decode(job.payload.as_slice()), job.org_id) else {
            return Err(JobError::Fatal("the payload is not a staged import".to_owned()));
        };
        let staged = &staged;
        let created = self
            .db
            .write(|tx| async move { self.create(&tx, org, staged).await })
            .await;
        created.map_err(|error| {
            // A message of a refusal may quote a name, so the failure has its reason only.
            let refusal = RpcError::from(error);
            let reason = refusal.reason().to_owned();
            match refusal.code() {
                Code::Unavailable => JobError::Retry(reason),
                _ => JobError::Fatal(reason),
            }
        })
    }
}

impl CreateImportedLinks {
    async fn create(&self, tx: &Tx, org: OrgId, staged: &RosterImportStaged) -> Result<(), Error> {
        let import: RosterImportId = event_id(&staged.roster_import_id)?;
        let scope = &OrgScope::for_consumer(operations::IMPORT, org);
        for expected in &staged.invitations {
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
