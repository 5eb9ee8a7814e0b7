//! Events of sessions in the feed of membership.
use parta_access::Secrets;
use parta_database::Tx;
use parta_ids::{OrgId, SessionId};
use parta_proto_membership::v1::{SessionRevoked, membership_event::Payload};

use super::secret;
use crate::{error::Error, feed::state};

/// Appends that a session has ended, under the id by which the organization knows it.
pub(super) async fn revoked(tx: &Tx, secrets: &Secrets, session: SessionId, org: OrgId) -> Result<(), Error> {
    let session_id = secret::pairwise_session(secrets, session, org).to_string();
    state(tx, org, Payload::SessionRevoked(SessionRevoked { session_id })).await
}
