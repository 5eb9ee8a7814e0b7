//! Configuration of the service.
use parta_runtime::ServiceConfig;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;

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
}

impl Config {
    fn secret(&self) -> &str {
        self.livekit_api_secret.as_ref().map_or("", |s| s.expose_secret())
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
