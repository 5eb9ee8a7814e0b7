//! The feed of the service: its snapshot over all features.
use parta_database::Tx;
use parta_ids::OrgId;
use parta_proto_invitation::v1::invitation_event::Payload;
use parta_status::RpcError;

use crate::{acceptance, invitations};

/// Events that build the present state from nothing.
pub(crate) async fn snapshot(tx: Tx, org: OrgId) -> Result<Vec<Payload>, RpcError> {
    let mut events = invitations::snapshot(&tx, org).await?;
    events.extend(acceptance::snapshot(&tx, org).await?);
    Ok(events)
}
