//! Publishing events of the service.
use std::sync::Arc;

use parta_database::Tx;
use parta_feed::{EventPayload as _, HandleError, Handler as _};
use parta_ids::OrgId;
use parta_proto_org_registry::v1::org_registry_event::Payload;
use parta_roster::{NoObserver, Organizations};
use parta_status::RpcError;

use crate::error::Error;

/// Appends an event to the feed and applies it to this service's own half of the roster projection, both in
/// the transaction of the change. Therefore, the policies of this service never wait for its own feed.
pub(crate) async fn publish(tx: &Tx, org: OrgId, payload: Payload) -> Result<(), Error> {
    let event = payload.clone().into_event();
    let projection = Organizations::new(Arc::new(NoObserver));
    projection
        .apply(tx, org, &[event])
        .await
        .map_err(|error| match error {
            HandleError::Storage(error) => Error::Storage(error),
            HandleError::Failed(reason) => Error::Refused(RpcError::internal(reason)),
        })?;
    parta_feed::append_event(tx, org, payload);
    Ok(())
}
