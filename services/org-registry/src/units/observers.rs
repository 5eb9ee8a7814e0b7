//! The classes that roster imports request.
use async_trait::async_trait;
use parta_access::OrgScope;
use parta_database::Tx;
use parta_ids::{OrgId, RosterImportId};
use parta_proto_membership::v1::RosterImportStaged;
use parta_roster::{CreateStaged, StagedImportObserver};
use parta_status::RpcError;

use super::{model::ImportSource, operations};
use crate::error::Error;

/// The kind of the job that creates the classes of a staged roster import.
pub(crate) const IMPORT_JOB: &str = "org_registry.create_imported_units";

/// Enqueues [`IMPORT_JOB`].
pub(crate) const IMPORT_OBSERVER: StagedImportObserver = StagedImportObserver {
    job: IMPORT_JOB,
    part: |staged| {
        (!staged.units.is_empty()).then(|| RosterImportStaged {
            invitations: Vec::new(),
            ..staged.clone()
        })
    },
};

/// Creates the classes in [`IMPORT_JOB`].
pub(crate) struct CreateImportedUnits;

#[async_trait]
impl CreateStaged for CreateImportedUnits {
    type Error = Error;

    async fn create(&self, tx: &Tx, org: OrgId, part: &RosterImportStaged) -> Result<(), Error> {
        let roster_import_id: RosterImportId = part
            .roster_import_id
            .parse()
            .map_err(|error| RpcError::internal(format!("a staged import has no id: {error}")))?;
        let scope = &OrgScope::for_consumer(IMPORT_JOB, org);
        for requested in &part.units {
            let source = ImportSource {
                roster_import_id,
                key: requested.source_key.clone(),
            };
            operations::create_imported(tx, scope, requested.label.trim(), &source).await?;
        }
        Ok(())
    }
}
