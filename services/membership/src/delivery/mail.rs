//! Sends a message by e-mail.
use lettre::{
    AsyncSmtpTransport, AsyncTransport as _, Message, Tokio1Executor, message::Mailbox,
    transport::smtp::Error as SmtpError,
};
use parta_contacts::EmailAddress;
use secrecy::ExposeSecret as _;

use super::failure::Failure;
use crate::config::Config;

/// Sends e-mails.
pub(super) struct Mailer {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
}

impl Mailer {
    pub(super) fn new(config: &Config) -> anyhow::Result<Self> {
        let url = config
            .smtp_url
            .as_ref()
            .ok_or_else(|| anyhow::anyhow!("smtp_url is required"))?;
        let transport = AsyncSmtpTransport::<Tokio1Executor>::from_url(url.expose_secret())?.build();
        Ok(Self {
            transport,
            from: config.mail_from.parse()?,
        })
    }

    pub(super) async fn send(
        &self,
        address: &EmailAddress,
        subject: &str,
        text: String,
    ) -> Result<(), Failure> {
        let invalid = |_| Failure::Permanent("message_invalid".to_owned());
        let to = address
            .as_str()
            .parse()
            .map_err(|_| Failure::Permanent("address_invalid".to_owned()))?;
        let message = Message::builder()
            .from(self.from.clone())
            .to(Mailbox::new(None, to))
            .subject(subject)
            .body(text)
            .map_err(invalid)?;
        self.transport
            .send(message)
            .await
            .map_err(|error| failure(&error))?;
        Ok(())
    }
}

/// Names a failure. The text of the error could contain the address.
fn failure(error: &SmtpError) -> Failure {
    if let Some(status) = error.status() {
        let code = format!("smtp_{status}");
        return if error.is_permanent() {
            Failure::Permanent(code)
        } else {
            Failure::Temporary(code)
        };
    }
    let code = if error.is_timeout() {
        "timeout"
    } else if error.is_tls() {
        "tls"
    } else {
        "unreachable"
    };
    Failure::Temporary(code.to_owned())
}
