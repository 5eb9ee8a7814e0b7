//! How codes reach people: a port with two sides, the development outbox and mail.
use async_trait::async_trait;
use lettre::{AsyncSmtpTransport, AsyncTransport as _, Message, Tokio1Executor, message::Mailbox};
use parta_access::Secrets;
use parta_ids::{FlowId, TypedId as _};
use parta_status::invalid;
use parta_storage::{
    Tx,
    jobs::{self, Job, JobError, JobHandler},
};
use secrecy::ExposeSecret as _;

use crate::{
    config::{Config, DeliveryKind},
    delivery::storage as outbox,
    error::Error,
    sessions::secret,
    sign_in::model::Address,
};

/// Kind of the durable job that sends a code by mail.
pub(crate) const MAIL_JOB: &str = "membership.mail_code";

fn text(code: &str) -> String {
    format!("Код для входа: {code}. Никому его не сообщайте.\nYour sign-in code: {code}. Tell it to nobody.")
}

/// Owes the code of a flow to its address, in the transaction that made the flow.
pub(crate) async fn owe(
    tx: &Tx,
    kind: DeliveryKind,
    secrets: &Secrets,
    flow: FlowId,
    address: &Address,
) -> Result<(), Error> {
    match kind {
        DeliveryKind::Outbox => {
            let text = text(&secret::code(secrets, flow));
            outbox::insert(tx, tx.env().ids.uuid(), address.text(), &text, tx.now()).await?;
        }
        DeliveryKind::Smtp => {
            let Address::Email(address) = address else {
                return Err(invalid("phone", "this installation sends codes by e-mail only").into());
            };
            let payload = format!("{flow} {address}").into_bytes();
            jobs::enqueue(tx, MAIL_JOB, None, payload, flow.uuid()).await?;
        }
    }
    Ok(())
}

/// Sends codes by mail. The job holds the flow's id, never the code.
pub(crate) struct Mailer {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
    secrets: Secrets,
}

impl Mailer {
    pub(crate) fn new(config: &Config, secrets: Secrets) -> anyhow::Result<Self> {
        let url = config
            .smtp_url
            .as_ref()
            .ok_or_else(|| anyhow::anyhow!("smtp_url is required"))?;
        let transport = AsyncSmtpTransport::<Tokio1Executor>::from_url(url.expose_secret())?.build();
        Ok(Self {
            transport,
            from: config.mail_from.parse()?,
            secrets,
        })
    }
}

#[async_trait]
impl JobHandler for Mailer {
    async fn run(&self, job: &Job) -> Result<(), JobError> {
        let fatal = |why: &str| JobError::Fatal(why.to_owned());
        let payload = std::str::from_utf8(&job.payload).map_err(|_| fatal("the payload is no text"))?;
        let (flow, address) = payload
            .split_once(' ')
            .ok_or_else(|| fatal("the payload is incomplete"))?;
        let flow: FlowId = flow.parse().map_err(|_| fatal("the payload names no flow"))?;
        let to = address
            .parse()
            .map_err(|_| fatal("the payload names no address"))?;
        let message = Message::builder()
            .from(self.from.clone())
            .to(Mailbox::new(None, to))
            .subject("Код для входа")
            .body(text(&secret::code(&self.secrets, flow)))
            .map_err(|error| JobError::Fatal(error.to_string()))?;
        self.transport
            .send(message)
            .await
            .map_err(|error| JobError::Retry(error.to_string()))?;
        Ok(())
    }
}
