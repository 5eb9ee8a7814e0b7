//! Sends a message by e-mail.
use lettre::{
    AsyncSmtpTransport, AsyncTransport as _, Message, Tokio1Executor,
    message::{
        Mailbox, MultiPart,
        header::{Header, HeaderName, HeaderValue},
    },
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

    /// Sends a message. `id` is the same for every attempt, so that a receiver recognizes a repetition.
    pub(super) async fn send(
        &self,
        address: &EmailAddress,
        subject: &str,
        text: &str,
        id: &str,
    ) -> Result<(), Failure> {
        let message = compose(&self.from, address, subject, text, id)?;
        self.transport
            .send(message)
            .await
            .map_err(|error| failure(&error))?;
        Ok(())
    }
}

/// `Auto-Submitted` (RFC 3834): the message gets no automatic replies, such as notices of an absence.
#[derive(Clone)]
struct AutoSubmitted;

impl Header for AutoSubmitted {
    fn name() -> HeaderName {
        HeaderName::new_from_ascii_str("Auto-Submitted")
    }

    fn parse(_: &str) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        Ok(Self)
    }

    fn display(&self) -> HeaderValue {
        HeaderValue::new(Self::name(), "auto-generated".to_owned())
    }
}

/// Composes a message with its text as plain text and as HTML. lettre adds the date.
fn compose(
    from: &Mailbox,
    address: &EmailAddress,
    subject: &str,
    text: &str,
    id: &str,
) -> Result<Message, Failure> {
    let to = address
        .as_str()
        .parse()
        .map_err(|_| Failure::Permanent("address_invalid".to_owned()))?;
    let message_id = format!("<{id}@{}>", from.email.domain());
    Message::builder()
        .from(from.clone())
        .to(Mailbox::new(None, to))
        .subject(subject)
        .message_id(Some(message_id))
        .header(AutoSubmitted)
        .multipart(MultiPart::alternative_plain_html(text.to_owned(), to_html(text)))
        .map_err(|_| Failure::Permanent("message_invalid".to_owned()))
}

/// Returns the text as HTML, each line as a paragraph.
fn to_html(text: &str) -> String {
    let escape = |line: &str| {
        line.replace('&', "&amp;")
            .replace('<', "&lt;")
            .replace('>', "&gt;")
    };
    let paragraphs: String = text
        .lines()
        .map(|line| format!("<p>{}</p>", escape(line)))
        .collect();
    format!("<!DOCTYPE html><html><head><meta charset=\"utf-8\"></head><body>{paragraphs}</body></html>")
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mail_has_the_headers_and_both_parts() {
        let from = "Школа <no-reply@school.example>".parse().unwrap();
        let address: EmailAddress = "ivan@mail.example".parse().unwrap();
        let message = compose(
            &from,
            &address,
            "Код для входа",
            "Код: 123456 <&>\nCode: 123456",
            "42",
        )
        .unwrap();
        let sent = String::from_utf8(message.formatted()).unwrap();
        let (head, body) = sent.split_once("\r\n\r\n").unwrap();
        for header in [
            "From: ",
            "To: ivan@mail.example",
            "Subject: ",
            "Date: ",
            "Message-ID: <42@school.example>",
            "Auto-Submitted: auto-generated",
            "MIME-Version: 1.0",
            "Content-Type: multipart/alternative;",
        ] {
            assert!(
                head.lines().any(|line| line.starts_with(header)),
                "{header} in\n{head}"
            );
        }
        assert!(body.contains("Content-Type: text/plain; charset=utf-8"), "{body}");
        assert!(body.contains("Content-Type: text/html; charset=utf-8"), "{body}");
        let html = to_html("a <b> & c\nd");
        assert!(
            html.ends_with("<body><p>a &lt;b&gt; &amp; c</p><p>d</p></body></html>"),
            "{html}"
        );
    }
}
