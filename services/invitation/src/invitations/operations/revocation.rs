//! The revocation of links, after which membership ends the requests that were made by them.
use parta_access::OrgScope;
use parta_database::{StorageError, Tx};
use parta_ids::InvitationId;
use serde::{Deserialize, Serialize};

use super::super::{events, model::Invitation, storage};

/// Kind of the durable job that ends the requests which were made by revoked links.
pub(crate) const END_JOB: &str = "invitation.end_revoked";

/// Links of one call to membership, and of one job. A link has at most 60 uses, so that one call ends at most
/// 1,200 requests.
pub(crate) const LINKS_PER_CALL: usize = 20;

/// The links whose requests the job ends.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct RevokedLinks {
    pub(crate) invitation_ids: Vec<InvitationId>,
}

/// Revokes a link; returns `false` if it was revoked before. No later acceptance reserves a use: it waits for
/// the row that this transaction has changed.
pub(super) async fn revoke_link(tx: &Tx, scope: &OrgScope, link: &Invitation) -> Result<bool, StorageError> {
    let revoked = storage::update_revoked(tx, scope, link.id, tx.now()).await?;
    if revoked {
        events::revoked(tx, link);
    }
    Ok(revoked)
}

/// Enqueues the end of the requests that were made by revoked links. Links that nobody has used belong to
/// them: membership notes their end too, so that a backup in which they still work admits no person.
pub(super) async fn end_requests(
    tx: &Tx,
    scope: &OrgScope,
    links: &[InvitationId],
) -> Result<(), StorageError> {
    for chunk in links.chunks(LINKS_PER_CALL) {
        let payload = RevokedLinks {
            invitation_ids: chunk.to_vec(),
        };
        let payload = serde_json::to_vec(&payload).map_err(|error| StorageError::Fault(error.to_string()))?;
        let request_id = tx.env().ids.uuid();
        parta_jobs::enqueue(tx, END_JOB, Some(scope.org_id()), payload, request_id).await?;
    }
    Ok(())
}
