//! Reports the configuration at startup, without secrets.
use std::collections::BTreeMap;

use config::{Map, Value, ValueKind};

/// The values and origins of all keys, to be logged once logging is initialized.
#[derive(Debug, Clone)]
pub struct Report {
    keys: BTreeMap<String, String>,
    origins: BTreeMap<String, String>,
}

impl Report {
    pub(super) fn of(all: &Map<String, Value>, origins: BTreeMap<String, String>) -> Self {
        let keys = flatten(all)
            .into_iter()
            .map(|(key, value)| (key.clone(), masked(&key, &value)))
            .collect();
        Self { keys, origins }
    }

    /// Logs every key: keys from the environment and the command line at INFO, others at DEBUG.
    pub fn log(&self) {
        for (key, value) in &self.keys {
            match self.origins.get(key) {
                Some(origin) => tracing::info!(key, value, origin, "configuration"),
                None => tracing::debug!(key, value, "configuration"),
            }
        }
    }

    /// Returns the value of a key with secrets masked.
    pub fn shown(&self, key: &str) -> Option<&str> {
        self.keys.get(key).map(String::as_str)
    }
}

fn flatten(all: &Map<String, Value>) -> BTreeMap<String, String> {
    let mut flat = BTreeMap::new();
    for (key, value) in all {
        match &value.kind {
            ValueKind::Table(inner) => {
                flat.extend(flatten(inner).into_iter().map(|(k, v)| (format!("{key}.{k}"), v)));
            }
            _ => {
                flat.insert(key.clone(), value.to_string());
            }
        }
    }
    flat
}

/// Masks a value. Names of files and folders are not secrets. Keys named like secrets are masked, and so are
/// headers and bodies of requests, in which operators write the key of a provider.
fn masked(key: &str, value: &str) -> String {
    let last = key.rsplit('.').next().unwrap_or(key);
    let is_path = last.ends_with("_file") || last == "folder" || last.ends_with("_folder");
    let sounds = ["secret", "password", "token", "key", "credential", "pepper"]
        .iter()
        .any(|word| last.contains(word));
    let request = last.ends_with("_headers") || last.ends_with("_body");
    if (sounds || request) && !is_path && !value.is_empty() {
        return "***".into();
    }
    match value.split_once("://") {
        Some((scheme, rest)) => format!("{scheme}://{}", masked_url(scheme, rest)),
        None if last.ends_with("url") && value.contains('@') => "***".into(),
        None => value.to_owned(),
    }
}

/// Masks the parts of a URL without its scheme that may be secret: the user with the password, the query, and
/// the path on a web server. The path of a database is its name.
fn masked_url(scheme: &str, rest: &str) -> String {
    let (address, query) = match rest.split_once('?') {
        // A password may contain a question mark.
        Some((_, query)) if query.contains('@') => return "***".into(),
        Some((address, _)) => (address, "?***"),
        None => (rest, ""),
    };
    let (user, address) = match address.rsplit_once('@') {
        Some((_, host)) => ("***@", host),
        None => ("", address),
    };
    match address.split_once('/') {
        Some((host, path)) if scheme.starts_with("http") && !path.is_empty() => format!("{user}{host}/***"),
        _ => format!("{user}{address}{query}"),
    }
}

#[cfg(test)]
mod tests {
    use super::masked;

    #[test]
    fn secrets_are_masked_and_paths_are_not() {
        assert_eq!(masked("call_scheduling.livekit_api_secret", "hunter2"), "***");
        assert_eq!(masked("membership.smtp.password", "hunter2"), "***");
        assert_eq!(masked("server.tls_key_file", "/etc/tls.key"), "/etc/tls.key");
        let url = masked("chat.database_url", "postgres://app:p@ss@db/chat");
        assert_eq!(url, "postgres://***@db/chat");
        let url = |value| masked("bus.url", value);
        assert_eq!(url("postgres://app:p?ss@db/chat"), "postgres://***");
        assert_eq!(url("user:password@nats:4222"), "***");
        assert_eq!(url("nats://nats:4222"), "nats://nats:4222");
        assert_eq!(url("http://localhost:4317"), "http://localhost:4317");
        assert_eq!(masked("server.listen", "127.0.0.1:7710"), "127.0.0.1:7710");
    }
}
