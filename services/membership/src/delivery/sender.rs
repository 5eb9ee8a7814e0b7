//! One attempt to send a message, and what the outcome of sending a code means for the job.
use opentelemetry::{KeyValue, global, metrics::Counter};
use parta_access::Secrets;
use parta_ids::{FlowId, TypedId as _};
use parta_jobs::{Job, JobError};

use super::{
    failure::Failure,
    mail::Mailer,
    model::{Message, Purpose, code_message},
    secret,
    sms::Gateway,
};
use crate::{accounts::Address, config::Config};

/// Sends messages by the channels of the configuration.
pub(crate) struct Sender {
    sms: Option<Gateway>,
    mail: Option<Mailer>,
    secrets: Secrets,
    /// Outcomes of attempts by channel.
    outcomes: Counter<u64>,
}

impl Sender {
    /// Reads the files that the configuration names. Returns `None` if nothing is sent.
    pub(crate) fn new(config: &Config, secrets: Secrets) -> anyhow::Result<Option<Self>> {
        let channels = config.channels();
        if channels.outbox {
            return Ok(None);
        }
        Ok(Some(Self {
            sms: channels.sms.then(|| Gateway::new(config)).transpose()?,
            mail: channels.mail.then(|| Mailer::new(config)).transpose()?,
            secrets,
            outcomes: global::meter("parta").u64_counter("membership.codes").build(),
        }))
    }

    /// Hands a message over to the gateway or the mail server.
    pub(crate) async fn hand_over(
        &self,
        job: &Job,
        address: &Address,
        message: &Message,
    ) -> Result<(), Failure> {
        // The id of the job is the same for every attempt, and no secret of the recipient.
        let id = job.job_id.uuid().to_string();
        match (address, &self.sms, &self.mail) {
            (Address::Phone(phone), Some(gateway), _) => gateway.send(phone, &message.sms, &id).await,
            (Address::Email(address), _, Some(mailer)) => {
                mailer.send(address, &message.subject, &message.mail, &id).await
            }
            // The configuration changed while the job waited.
            _ => Err(Failure::Permanent("no_channel".to_owned())),
        }
    }

    /// Sends the code of a flow to its address. A refusal that would be repeated ends the job: the code is
    /// valid for minutes, and the person requests another.
    pub(crate) async fn send(
        &self,
        job: &Job,
        flow: FlowId,
        purpose: Purpose,
        address: &Address,
    ) -> Result<(), JobError> {
        let message = code_message(purpose, &secret::code(&self.secrets, flow));
        let channel = channel(address);
        match self.hand_over(job, address, &message).await {
            Ok(()) => {
                self.count(channel, "sent");
                Ok(())
            }
            // The runner logs the failure.
            Err(Failure::Temporary(failure)) => {
                self.count(channel, "retried");
                Err(JobError::Retry(format!("{channel}: {failure}")))
            }
            Err(Failure::Permanent(failure)) => {
                self.count(channel, "refused");
                tracing::warn!(channel, failure, job.id = %job.job_id, "one-time code refused, not sent again");
                Ok(())
            }
        }
    }

    /// Reports that the code of a job expired before it was sent.
    pub(crate) fn expired(&self, job: &Job, address: &Address) {
        let channel = channel(address);
        self.count(channel, "expired");
        tracing::warn!(
            channel,
            job.attempts,
            job.id = %job.job_id,
            "one-time code expired before it was sent"
        );
    }

    fn count(&self, channel: &'static str, outcome: &'static str) {
        let labels = [
            KeyValue::new("channel", channel),
            KeyValue::new("outcome", outcome),
        ];
        self.outcomes.add(1, &labels);
    }
}

/// The name of the channel of an address in logs and metrics.
pub(crate) fn channel(address: &Address) -> &'static str {
    match address {
        Address::Phone(_) => "sms",
        Address::Email(_) => "mail",
    }
}
