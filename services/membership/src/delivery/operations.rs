use parta_access::Caller;
use parta_database::Tx;
use parta_edge::{Page, PageRequest, Query, Read};
use parta_ids::{FlowId, TypedId as _};
use parta_status::invalid;

use super::{
    mail::{self, MAIL_JOB},
    model::{OutboxMessage, text},
    secret, storage,
};
use crate::{accounts::Address, config::DeliveryKind, context::Context, error::Error};

/// Owes the code of a flow to its address, in the transaction that made the flow.
pub(crate) async fn owe(context: &Context, tx: &Tx, flow: FlowId, address: &Address) -> Result<(), Error> {
    match context.delivery {
        DeliveryKind::Outbox => {
            let message = OutboxMessage {
                id: tx.env().ids.uuid(),
                recipient: address.text().to_owned(),
                text: text(&secret::code(&context.secrets, flow)),
                create_time: tx.now(),
            };
            storage::insert(tx, &message).await?;
        }
        DeliveryKind::Smtp => {
            let Address::Email(address) = address else {
                return Err(invalid("phone", "this installation sends codes by e-mail only").into());
            };
            let payload = mail::payload(flow, address);
            parta_jobs::enqueue(tx, MAIL_JOB, None, payload, flow.uuid()).await?;
        }
    }
    Ok(())
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
        if context.delivery != DeliveryKind::Outbox {
            return Err(Error::outbox_absent());
        }
        let after = self.page.after(tx, caller)?;
        let rows = storage::list(tx, self.recipient.as_deref(), after, self.page.limit()).await?;
        Ok(Read::plain(self.page.page(tx, caller, rows, |row| row.id)))
    }
}
