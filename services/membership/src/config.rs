//! Configuration of the service.
use parta_runtime::ServiceConfig;
use secrecy::SecretString;
use serde::Deserialize;

/// The delivery of one-time codes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum DeliveryKind {
    /// Stores codes in a table that the operator reads. For development, on a loopback address only.
    #[default]
    Outbox,
    /// Sends codes by e-mail. Phone numbers are refused.
    Smtp,
}

/// Section `[membership]`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Config {
    /// How codes are delivered.
    pub(crate) delivery: DeliveryKind,
    /// `smtps://user:password@host` of the mail server; required by `smtp`.
    pub(crate) smtp_url: Option<SecretString>,
    /// The sender of the e-mail; required by `smtp`.
    pub(crate) mail_from: String,
}

impl ServiceConfig for Config {
    fn validate(&self, problems: &mut Vec<String>) {
        if self.delivery == DeliveryKind::Smtp {
            if self.smtp_url.is_none() {
                problems.push("smtp_url is required when delivery is smtp".to_owned());
            }
            if self.mail_from.parse::<lettre::message::Mailbox>().is_err() {
                problems.push("mail_from must be a mail address when delivery is smtp".to_owned());
            }
        }
    }
}
