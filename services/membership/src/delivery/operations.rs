use parta_access::Caller;
use parta_database::Tx;
use parta_edge::{Page, PageRequest, Query, Read};
use parta_ids::{FlowId, TypedId as _};
use parta_status::invalid;

use super::{
    model::{OutboxMessage, text},
    secret, storage,
};
use crate::{accounts::Address, context::Context, error::Error};

/// The kind of the durable job that sends the code of a flow.
pub(crate) const SEND_JOB: &str = "membership.send_code";

/// Owes the code of a flow to its address, in the transaction that made the flow. The job names the flow
/// only: the flow has the address, and the code is derived.
pub(crate) async fn owe(context: &Context, tx: &Tx, flow: FlowId, address: &Address) -> Result<(), Error> {
    if context.channels.outbox {
        let message = OutboxMessage {
            id: tx.env().ids.uuid(),
            recipient: address.text().to_owned(),
            text: text(&secret::code(&context.secrets, flow)),
            create_time: tx.now(),
        };
        return Ok(storage::insert(tx, &message).await?);
    }
    match address {
        Address::Phone(_) if !context.channels.sms => {
            return Err(invalid("phone", "this installation sends codes by e-mail only").into());
        }
        Address::Email(_) if !context.channels.mail => {
            return Err(invalid("email", "this installation sends codes by SMS only").into());
        }
        _ => {}
    }
    let payload = flow.to_string().into_bytes();
    Ok(parta_jobs::enqueue(tx, SEND_JOB, None, payload, flow.uuid()).await?)
}

/// Returns the flow that the payload of a job names.
pub(crate) fn flow_of(payload: &[u8]) -> Option<FlowId> {
    std::str::from_utf8(payload).ok()?.parse().ok()
}

/// Lists the messages of the development outbox, latest first.
#[derive(Debug)]
pub(crate) struct ListOutboxMessages {
    /// Only those to this address.
    pub(crate) recipient: Option<String>,
    pub(crate) page: PageRequest,
}

impl Query for ListOutboxMessages {
    type Context = Context;
    type View = Page<OutboxMessage>;
    type Error = Error;

    async fn run(
        &self,
        context: &Context,
        tx: &Tx,
        caller: &Caller,
    ) -> Result<Read<Page<OutboxMessage>>, Error> {
        if !context.channels.outbox {
            return Err(Error::outbox_absent());
        }
        let after = self.page.after(tx, caller)?;
        let rows = storage::list(tx, self.recipient.as_deref(), after, self.page.limit()).await?;
        Ok(Read::plain(self.page.page(tx, caller, rows, |row| row.id)))
    }
}
