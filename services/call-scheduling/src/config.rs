//! Configuration of the service.
use std::{path::PathBuf, time::Duration};

use anyhow::Context as _;
use parta_http_client::HttpClient;
use parta_runtime::ServiceConfig;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;

/// The time limit of one call of the media server. A person who must leave a call is out within ten seconds.
const MEDIA_TIMEOUT: Duration = Duration::from_secs(5);

/// The longest list of the people in a room: some thousands of people with their tracks.
const MEDIA_RESPONSE_MAX: usize = 16 * 1024 * 1024;

/// Section `[call_scheduling]`. Either all three keys are set or none. Without them, a process that only this
/// machine can reach signs with a generated key for a development media server, and any other process has no
/// media server.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Config {
    /// The address of LiveKit for clients, for example `wss://media.school.example`.
    pub(crate) livekit_url: String,
    /// LiveKit's API key: the issuer of tokens.
    pub(crate) livekit_api_key: String,
    /// LiveKit's API secret, at least 32 bytes; set by an environment variable and never in a file.
    pub(crate) livekit_api_secret: Option<SecretString>,
    /// PEM file of further certificate authorities that the API of LiveKit may have.
    pub(crate) livekit_ca_file: Option<PathBuf>,
}

impl Config {
    fn secret(&self) -> &str {
        self.livekit_api_secret.as_ref().map_or("", |s| s.expose_secret())
    }

    /// Returns the client of the media server. Fails if the file of the authorities cannot be used.
    pub(crate) fn media_client(&self) -> anyhow::Result<HttpClient> {
        let authorities = self.livekit_ca_file.as_deref();
        let client = HttpClient::new(MEDIA_TIMEOUT, authorities).with_context(|| match authorities {
            Some(file) => format!("livekit_ca_file {}", file.display()),
            None => "the client of the media server".to_owned(),
        })?;
        Ok(client.longest_response(MEDIA_RESPONSE_MAX))
    }
}

impl ServiceConfig for Config {
    fn validate(&self, problems: &mut Vec<String>) {
        let given = [&self.livekit_url, &self.livekit_api_key, self.secret()].map(|v| !v.is_empty());
        if given.contains(&true) && given.contains(&false) {
            problems
                .push("livekit_url, livekit_api_key and livekit_api_secret must be set together".to_owned());
        }
        let url = &self.livekit_url;
        let local = url.starts_with("ws://127.0.0.1") || url.starts_with("ws://localhost");
        if !url.is_empty() && !url.starts_with("wss://") && !local {
            problems.push("livekit_url must begin with wss:// (or ws:// on this machine)".to_owned());
        }
        if given[2] && self.secret().len() < 32 {
            problems.push("livekit_api_secret must have at least 32 bytes".to_owned());
        }
    }
}
