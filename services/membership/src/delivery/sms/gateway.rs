//! The client of the gateway.
use std::time::Duration;

use anyhow::Context as _;
use http::{HeaderName, HeaderValue, Method, Request, Uri, header::CONTENT_TYPE};
use http_body_util::Full;
use parta_contacts::PhoneNumber;
use parta_http_client::{HttpClient, is_safe};
use secrecy::{ExposeSecret as _, SecretString};

use super::{
    results::Results,
    template::{Escaping, Message, Slot, Template},
};
use crate::{
    config::{BodyFormat, Config, SmsMethod},
    delivery::failure::Failure,
};

/// The templates of the configuration, parsed.
struct Plan {
    url: Template,
    headers: Vec<(HeaderName, Template)>,
    body: Template,
    results: Results,
}

/// Returns the problems of the keys `sms_*`.
pub(crate) fn problems(config: &Config) -> Vec<String> {
    Plan::of(config).err().unwrap_or_default()
}

impl Plan {
    fn of(config: &Config) -> Result<Self, Vec<String>> {
        let mut problems = Vec::new();
        let mut parse = |key: &str, text: &str, escaping| {
            let parsed = Template::parse(text, escaping);
            parsed
                .map_err(|problem| problems.push(format!("{key}: {problem}")))
                .ok()
        };
        let url = parse(
            "sms_url",
            config.sms_url.as_deref().unwrap_or_default(),
            Escaping::Url,
        );
        let escaping = match config.sms_body_format {
            BodyFormat::Form => Escaping::Url,
            BodyFormat::Json => Escaping::Json,
        };
        let body = parse("sms_body", &config.sms_body, escaping);
        let mut list = |key: &str, texts: &[String]| -> Vec<Template> {
            let one = |text: &String| parse(key, text, Escaping::Plain);
            texts.iter().filter_map(one).collect()
        };
        let fields = list("sms_result_fields", &config.sms_result_fields);
        let headers = headers(&config.sms_headers, &mut problems);
        let results = Results {
            fields,
            accepted: config.sms_accepted_results.clone(),
            temporary: config.sms_temporary_results.clone(),
        };
        if let (Some(url), Some(body)) = (&url, &body) {
            check(config, url, body, &headers, &results, &mut problems);
        }
        match (url, body) {
            (Some(url), Some(body)) if problems.is_empty() => Ok(Self {
                url,
                headers,
                body,
                results,
            }),
            _ => Err(problems),
        }
    }
}

fn headers(lines: &[String], problems: &mut Vec<String>) -> Vec<(HeaderName, Template)> {
    let header = |line: &String| {
        let (name, value) = line
            .split_once(':')
            .ok_or("write each header as \"Name: value\"")?;
        let name = name.trim();
        let parsed = name
            .parse()
            .map_err(|_| format!("{name} is not the name of a header"))?;
        let value = Template::parse(value.trim(), Escaping::Plain)?;
        let personal = [Slot::Phone, Slot::PhoneDigits, Slot::Text];
        if personal.iter().any(|slot| value.has(*slot)) {
            return Err(format!("{name} takes {{id}} and {{secret}} only"));
        }
        Ok((parsed, value))
    };
    let parsed = lines.iter().map(header);
    let keep = |parsed: Result<_, String>| {
        parsed
            .map_err(|problem| problems.push(format!("sms_headers: {problem}")))
            .ok()
    };
    parsed.filter_map(keep).collect()
}

fn check(
    config: &Config,
    url: &Template,
    body: &Template,
    headers: &[(HeaderName, Template)],
    results: &Results,
    problems: &mut Vec<String>,
) {
    let mut require = |holds: bool, problem: &str| {
        if !holds {
            problems.push(problem.to_owned());
        }
    };
    let sample = Message {
        phone: "+79160000000",
        text: "\"\\&",
        id: "0",
        secret: "\"\\&",
    };
    let parsed = url.render(&sample).parse::<Uri>().ok();
    require(
        parsed
            .as_ref()
            .is_some_and(|uri| is_safe(uri) && url.beginning().contains(&host(uri))),
        "sms_url must be https://host/…, or http:// on a loopback address, and its host has no placeholder",
    );
    let in_request = |slot| url.has(slot) || body.has(slot);
    require(
        in_request(Slot::Phone) || in_request(Slot::PhoneDigits),
        "sms_url or sms_body must contain {phone} or {phone_digits}",
    );
    require(in_request(Slot::Text), "sms_url or sms_body must contain {text}");
    let given = config.sms_secret.is_some() || config.sms_secret_file.is_some();
    let used = in_request(Slot::Secret) || headers.iter().any(|(_, value)| value.has(Slot::Secret));
    require(
        !used || given,
        "sms_secret or sms_secret_file is required by the placeholder {secret}",
    );
    require(
        used || !given,
        "sms_url, sms_body or sms_headers must contain {secret}, because a secret is set",
    );
    require(
        config.sms_secret.is_none() || config.sms_secret_file.is_none(),
        "set sms_secret or sms_secret_file, not both",
    );
    require(
        config.sms_method == SmsMethod::Post || config.sms_body.is_empty(),
        "sms_body is for sms_method POST only",
    );
    let json = config.sms_body_format == BodyFormat::Json && !config.sms_body.is_empty();
    let valid = serde_json::from_str::<serde_json::Value>(&body.render(&sample)).is_ok();
    require(
        !json || valid,
        "sms_body is not JSON; placeholders stand between quotes",
    );
    require(
        (1..=30).contains(&config.sms_timeout_seconds),
        "sms_timeout_seconds must lie between 1 and 30",
    );
    require(
        config
            .sms_result_fields
            .iter()
            .all(|field| field.starts_with('/')),
        "sms_result_fields: a JSON pointer begins with /",
    );
    let hidden = |field: &Template| field.has(Slot::Text) || field.has(Slot::Secret);
    require(
        !results.fields.iter().any(hidden),
        "sms_result_fields takes {phone}, {phone_digits} and {id} only",
    );
    require(
        results.fields.is_empty() == results.accepted.is_empty(),
        "set both sms_result_fields and sms_accepted_results, or neither",
    );
    require(
        !results.fields.is_empty() || results.temporary.is_empty(),
        "sms_temporary_results needs sms_result_fields",
    );
}

fn host(uri: &Uri) -> String {
    format!(
        "://{}",
        uri.authority().map_or("", |authority| authority.as_str())
    )
}

/// Sends messages through the gateway.
pub(in crate::delivery) struct Gateway {
    client: HttpClient,
    method: Method,
    content_type: Option<&'static str>,
    plan: Plan,
    secret: SecretString,
}

impl Gateway {
    /// Reads the secret and the certificates. Fails if a file cannot be used.
    pub(in crate::delivery) fn new(config: &Config) -> anyhow::Result<Self> {
        let plan = Plan::of(config).map_err(|problems| anyhow::anyhow!(problems.join("; ")))?;
        let secret = match &config.sms_secret_file {
            Some(file) => {
                let text = std::fs::read_to_string(file);
                let text = text.with_context(|| format!("sms_secret_file {}", file.display()))?;
                anyhow::ensure!(
                    !text.trim().is_empty(),
                    "sms_secret_file {} is empty",
                    file.display()
                );
                SecretString::from(text.trim().to_owned())
            }
            None => config.sms_secret.clone().unwrap_or_default(),
        };
        let authorities = config.sms_ca_file.as_deref();
        let client = HttpClient::new(Duration::from_secs(config.sms_timeout_seconds), authorities);
        let client = client.with_context(|| match authorities {
            Some(file) => format!("sms_ca_file {}", file.display()),
            None => "the client of the gateway".to_owned(),
        })?;
        let content_type = match config.sms_body_format {
            _ if config.sms_body.is_empty() => None,
            BodyFormat::Form => Some("application/x-www-form-urlencoded"),
            BodyFormat::Json => Some("application/json"),
        };
        let gateway = Self {
            client,
            method: match config.sms_method {
                SmsMethod::Get => Method::GET,
                SmsMethod::Post => Method::POST,
            },
            content_type,
            plan,
            secret,
        };
        let sample = Message {
            phone: "+79160000000",
            text: "",
            id: "",
            secret: gateway.secret.expose_secret(),
        };
        // The error could show the secret.
        let request = gateway.request(&sample);
        anyhow::ensure!(
            request.is_some(),
            "sms_headers: the secret does not fit into a header"
        );
        Ok(gateway)
    }

    fn request(&self, message: &Message<'_>) -> Option<Request<Full<bytes::Bytes>>> {
        let mut request = Request::builder()
            .method(self.method.clone())
            .uri(self.plan.url.render(message));
        if let Some(content_type) = self.content_type {
            request = request.header(CONTENT_TYPE, content_type);
        }
        let mut request = request.body(Full::from(self.plan.body.render(message))).ok()?;
        for (name, value) in &self.plan.headers {
            let mut value = HeaderValue::from_str(&value.render(message)).ok()?;
            value.set_sensitive(true);
            request.headers_mut().insert(name, value);
        }
        Some(request)
    }

    /// Sends one message. `id` is the same for every attempt.
    pub(in crate::delivery) async fn send(
        &self,
        phone: &PhoneNumber,
        text: &str,
        id: &str,
    ) -> Result<(), Failure> {
        let message = Message {
            phone: phone.as_str(),
            text,
            id,
            secret: self.secret.expose_secret(),
        };
        let request = self.request(&message);
        let request = request.ok_or_else(|| Failure::Permanent("request_invalid".to_owned()))?;
        let (status, body) = self
            .client
            .send(request)
            .await
            .map_err(|error| Failure::Temporary(error.to_string()))?;
        self.plan.results.read(status, &body, &message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::DeliveryKind;

    #[test]
    fn unusable_files_are_refused_at_the_start() {
        let folder = tempfile::tempdir().unwrap();
        let (empty, nowhere) = (folder.path().join("empty"), folder.path().join("nowhere"));
        std::fs::write(&empty, "\n").unwrap();
        let config = Config {
            delivery: DeliveryKind::SmsGateway,
            sms_url: Some("https://sms.example/send?to={phone}&msg={text}&key={secret}".to_owned()),
            sms_method: SmsMethod::Get,
            sms_secret: Some("secret".into()),
            ..Config::default()
        };
        assert!(Gateway::new(&config).is_ok());
        for file in [&empty, &nowhere] {
            let secret = Config {
                sms_secret: None,
                sms_secret_file: Some(file.clone()),
                ..config.clone()
            };
            let authority = Config {
                sms_ca_file: Some(file.clone()),
                ..config.clone()
            };
            for (config, key) in [(secret, "sms_secret_file"), (authority, "sms_ca_file")] {
                let error = format!("{:#}", Gateway::new(&config).err().unwrap());
                assert!(
                    error.contains(key) && error.contains(&file.display().to_string()),
                    "{error}"
                );
            }
        }
    }
}
