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
    publish_all(tx, org, half, vec![payload]).await
}

/// Publishes events in their order, as [`publish`] does. Events of a kind that follow each other take few
/// statements.
pub async fn publish_all<P: EventPayload>(
    tx: &Tx,
    org: OrgId,
    half: &impl Handler<Event = P::Event>,
    payloads: Vec<P>,
) -> Result<(), StorageError> {
    if payloads.is_empty() {
        return Ok(());
    }
    let events: Vec<P::Event> = payloads.iter().cloned().map(P::into_event).collect();
    half.apply(tx, org, &events).await.map_err(|error| match error {
        HandleError::Storage(error) => error,
        // The service has made the events itself, so that it is at fault.
        HandleError::Failed(reason) => StorageError::Fault(reason),
    })?;
    for payload in payloads {
        append_event(tx, org, payload);
    }
    Ok(())
}
