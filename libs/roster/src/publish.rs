use parta_database::{StorageError, Tx};
use parta_feed::{EventPayload, HandleError, Handler, append_event};
use parta_ids::OrgId;

/// Appends an event to the feed of this service and applies it to the half of the roster projection that the
/// service keeps itself, both in the transaction of the change. The policies of the service therefore read
/// the same projection as other services and never wait for its own feed.
pub async fn publish<P: EventPayload>(
    tx: &Tx,
    org: OrgId,
    half: &impl Handler<Event = P::Event>,
    payload: P,
) -> Result<(), StorageError> {
    let event = payload.clone().into_event();
    half.apply(tx, org, &[event]).await.map_err(|error| match error {
        HandleError::Storage(error) => error,
        // The service has made the event itself, so that it is at fault.
        HandleError::Failed(reason) => StorageError::Fault(reason),
    })?;
    append_event(tx, org, payload);
    Ok(())
}
