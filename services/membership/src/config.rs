//! Configuration of the service.
use std::path::PathBuf;

use parta_runtime::ServiceConfig;
use secrecy::SecretString;
use serde::Deserialize;

use crate::{
    delivery::{self, Channels},
    sign_in::Budgets,
};

/// The delivery of one-time codes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum DeliveryKind {
    /// Stores codes in a table that the operator reads. For development, on a loopback address only.
    #[default]
    Outbox,
    /// Sends codes by e-mail. Phone numbers are refused.
    Smtp,
    /// Sends codes to phones through the HTTP gateway of an SMS provider, and by e-mail if `smtp_url` is set.
    SmsGateway,
}

/// The method of the request to the SMS gateway.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub(crate) enum SmsMethod {
    /// Everything is in the URL.
    Get,
    /// With a body.
    #[default]
    Post,
}

/// The format of the body of the request to the SMS gateway.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum BodyFormat {
    /// `application/x-www-form-urlencoded`.
    #[default]
    Form,
    /// `application/json`.
    Json,
}

/// The largest limit of codes per hour: one per millisecond, in which the limits are counted.
const CODES_MAX: u32 = 3_600_000;

/// Section `[membership]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Config {
    /// The way in which codes are delivered.
    pub(crate) delivery: DeliveryKind,
    /// `smtps://user:password@host` of the mail server; required by `smtp`.
    pub(crate) smtp_url: Option<SecretString>,
    /// The sender of the e-mail; required with `smtp_url`.
    pub(crate) mail_from: String,
    /// The URL of the gateway, with placeholders; required by `sms_gateway`.
    pub(crate) sms_url: Option<String>,
    /// The method of the request.
    pub(crate) sms_method: SmsMethod,
    /// Headers as `Name: value`, with placeholders.
    pub(crate) sms_headers: Vec<String>,
    /// The body of the request, with placeholders.
    pub(crate) sms_body: String,
    pub(crate) sms_body_format: BodyFormat,
    /// The value of the placeholder `{secret}`.
    pub(crate) sms_secret: Option<SecretString>,
    /// The file with the value of the placeholder `{secret}`.
    pub(crate) sms_secret_file: Option<PathBuf>,
    /// PEM file of certificate authorities to trust beside the bundled ones and those of the system.
    pub(crate) sms_ca_file: Option<PathBuf>,
    /// The time limit of one request.
    pub(crate) sms_timeout_seconds: u64,
    /// JSON pointers to the result in the response.
    pub(crate) sms_result_fields: Vec<String>,
    /// Results that mean that the message was taken.
    pub(crate) sms_accepted_results: Vec<String>,
    /// Results after which the message is sent again.
    pub(crate) sms_temporary_results: Vec<String>,
    /// Whether codes are sent to premium-rate and satellite numbers, with which attackers earn money.
    pub(crate) accept_costly_numbers: bool,
    /// The number of codes that one network may request per hour.
    pub(crate) codes_per_hour_of_network: u32,
    /// The number of codes that the installation sends per hour.
    pub(crate) codes_per_hour: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            delivery: DeliveryKind::default(),
            smtp_url: None,
            mail_from: String::new(),
            sms_url: None,
            sms_method: SmsMethod::default(),
            sms_headers: Vec::new(),
            sms_body: String::new(),
            sms_body_format: BodyFormat::default(),
            sms_secret: None,
            sms_secret_file: None,
            sms_ca_file: None,
            sms_timeout_seconds: 10,
            sms_result_fields: Vec::new(),
            sms_accepted_results: Vec::new(),
            sms_temporary_results: Vec::new(),
            accept_costly_numbers: false,
            codes_per_hour_of_network: 600,
            codes_per_hour: 10_000,
        }
    }
}

impl Config {
    /// Returns the limits of the number of codes that are sent.
    pub(crate) fn budgets(&self) -> Budgets {
        Budgets {
            network_per_hour: self.codes_per_hour_of_network,
            installation_per_hour: self.codes_per_hour,
        }
    }

    /// The channels by which codes are delivered.
    pub(crate) fn channels(&self) -> Channels {
        Channels {
            outbox: self.delivery == DeliveryKind::Outbox,
            sms: self.delivery == DeliveryKind::SmsGateway,
            mail: match self.delivery {
                DeliveryKind::Outbox => false,
                DeliveryKind::Smtp => true,
                DeliveryKind::SmsGateway => self.smtp_url.is_some(),
            },
            costly_numbers: self.accept_costly_numbers,
        }
    }
}

impl ServiceConfig for Config {
    fn validate(&self, problems: &mut Vec<String>) {
        for (key, count) in [
            ("codes_per_hour_of_network", self.codes_per_hour_of_network),
            ("codes_per_hour", self.codes_per_hour),
        ] {
            if !(1..=CODES_MAX).contains(&count) {
                problems.push(format!("{key} must lie between 1 and {CODES_MAX}"));
            }
        }
        if self.delivery == DeliveryKind::Smtp && self.smtp_url.is_none() {
            problems.push("smtp_url is required when delivery is smtp".to_owned());
        }
        if self.channels().mail && self.mail_from.parse::<lettre::message::Mailbox>().is_err() {
            problems.push("mail_from must be a mail address when codes are sent by e-mail".to_owned());
        }
        if !self.channels().sms {
            return;
        }
        if self.sms_url.is_none() {
            problems.push("sms_url is required when delivery is sms_gateway".to_owned());
        } else {
            problems.extend(delivery::gateway_problems(self));
        }
    }
}
