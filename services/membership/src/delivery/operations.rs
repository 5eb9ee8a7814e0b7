use std::time::Duration;

use parta_database::Tx;
use parta_edge::{Page, PageRequest, Query, Read};
use parta_ids::{FlowId, TypedId as _};
use parta_jobs::Limits;
use parta_status::invalid;

use super::{
    model::{Message, OutboxMessage, Purpose, code_message},
    secret, storage,
};
use crate::{
    accounts::Address,
    context::{Context, Run},
    error::Error,
};

/// The kinds of the durable jobs that send the code of a flow. Each channel has its own kind, so that a mail
/// server that does not respond delays no SMS.
pub(crate) const SEND_JOBS: [&str; 2] = [SEND_SMS_JOB, SEND_MAIL_JOB];
const SEND_SMS_JOB: &str = "membership.send_code_by_sms";
const SEND_MAIL_JOB: &str = "membership.send_code_by_mail";
/// A code is valid for minutes, so an attempt does not wait longer for a server that does not respond.
pub(crate) const SEND_LIMITS: Limits = Limits {
    concurrent: 32,
    per_organization: 32,
    attempt_timeout: Some(Duration::from_secs(30)),
    max_retry_delay: Limits::RETRY_DELAY,
};

/// Owes the code of a flow to its address, in the transaction that made the flow. The job names the flow
/// only: the flow has the address, and the code is derived.
pub(crate) async fn owe(
    context: &Context,
    tx: &Tx,
    flow: FlowId,
    purpose: Purpose,
    address: &Address,
) -> Result<(), Error> {
    if context.channels.outbox {
        let message = code_message(purpose, &secret::code(&context.secrets, flow));
        return store(tx, address, &message).await;
    }
    let (payload, id) = (flow.to_string().into_bytes(), flow.uuid());
    match address {
        Address::Phone(_) if !context.channels.sms => {
            Err(invalid("phone", "this installation sends codes by e-mail only").into())
        }
        Address::Email(_) if !context.channels.mail => {
            Err(invalid("email", "this installation sends codes by SMS only").into())
        }
        Address::Phone(_) => Ok(parta_jobs::enqueue(tx, SEND_SMS_JOB, None, payload, id).await?),
        Address::Email(_) => Ok(parta_jobs::enqueue(tx, SEND_MAIL_JOB, None, payload, id).await?),
    }
}

/// Stores a message in the development outbox in place of sending it.
pub(crate) async fn store(tx: &Tx, address: &Address, message: &Message) -> Result<(), Error> {
    let message = OutboxMessage {
        id: tx.env().ids.uuid(),
        recipient: address.text().to_owned(),
        text: message.mail.clone(),
        create_time: tx.now(),
    };
    Ok(storage::insert(tx, &message).await?)
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

    async fn run(&self, run: Run<'_>) -> Result<Read<Page<OutboxMessage>>, Error> {
        let Run { context, tx, caller } = run;
        if !context.channels.outbox {
            return Err(Error::outbox_absent());
        }
        let after = self.page.after(tx, caller)?;
        let rows = storage::list(tx, self.recipient.as_deref(), after, self.page.limit()).await?;
        Ok(Read::plain(self.page.page(tx, caller, rows, |row| row.id)))
    }
}
