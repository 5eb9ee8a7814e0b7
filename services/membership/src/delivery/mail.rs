//! The job that sends a code by e-mail.
use async_trait::async_trait;
use lettre::{AsyncSmtpTransport, AsyncTransport as _, Message, Tokio1Executor, message::Mailbox};
use parta_access::Secrets;
use parta_contacts::EmailAddress;
use parta_ids::FlowId;
use parta_jobs::{Job, JobError, JobHandler};
use secrecy::ExposeSecret as _;

use super::{model::text, secret};
use crate::config::Config;

/// Kind of the durable job that sends a code by mail.
pub(crate) const MAIL_JOB: &str = "membership.mail_code";

/// The payload of the job: the flow and the address, never the code.
pub(super) fn payload(flow: FlowId, address: &EmailAddress) -> Vec<u8> {
    format!("{flow} {address}").into_bytes()
}

/// Sends codes by e-mail.
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
        let payload = std::str::from_utf8(&job.payload).map_err(|_| fatal("the payload is not text"))?;
        let (flow, address) = payload
            .split_once(' ')
            .ok_or_else(|| fatal("the payload is incomplete"))?;
        let flow: FlowId = flow
            .parse()
            .map_err(|_| fatal("the payload does not name a flow"))?;
        let to = address
            .parse()
            .map_err(|_| fatal("the payload does not name an address"))?;
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
