//! Reads the layers and distributes their keys.
use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    fmt,
    ops::RangeInclusive,
    path::{Path, PathBuf},
};

use config::{Config, File, FileFormat, Map, Value, ValueKind};
use parta_database::DatabaseConfig;
use parta_grpc::server::TrustedProxies;
use secrecy::{ExposeSecret as _, SecretString};
use serde::de::DeserializeOwned;

use super::{Report, Section, ServiceSettings, Settings, settings::DatabaseSettings};
use crate::Service;

const DEFAULT: &str = include_str!("../../../../config/default.toml");
const KUBERNETES: &str = include_str!("../../../../config/kubernetes.toml");
/// Sections of the services of Parta. Another process may run them, so every process reads their
/// addresses.
const SUITE: [&str; 5] = [
    "org_registry",
    "membership",
    "invitation",
    "chat",
    "call_scheduling",
];

/// Command line options of every binary.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct ConfigArgs {
    /// Profile that overrides the defaults: `<config folder>/<profile>.toml`, or the built-in `kubernetes`.
    #[arg(long, global = true, env = "PARTA_PROFILE")]
    pub profile: Option<String>,
    /// Folder of `default.toml` and the profiles; without it, the built-in files are used.
    #[arg(long, global = true, env = "PARTA_CONFIG_FOLDER")]
    pub config: Option<PathBuf>,
    /// Sets one key and overrides all other layers: `--set server.listen=127.0.0.1:7711`.
    #[arg(long = "set", global = true, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
}

/// The sources of the configuration. The environment is a value so that tests can set their own.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// Command line options.
    pub args: ConfigArgs,
    /// Environment variables. Those named `PARTA__SECTION__KEY` are read; one that is not UTF-8 is an error.
    pub environment: Vec<(OsString, OsString)>,
}

impl Sources {
    /// Returns the sources of the process.
    #[must_use]
    pub fn of_process(args: ConfigArgs) -> Self {
        let environment = std::env::vars_os().collect();
        Self { args, environment }
    }

    /// Returns sources with only these keys, for tests: `Sources::set(["server.listen=127.0.0.1:0"])`.
    pub fn set<S: Into<String>>(keys: impl IntoIterator<Item = S>) -> Self {
        let set = keys.into_iter().map(Into::into).collect();
        Self {
            args: ConfigArgs {
                set,
                ..ConfigArgs::default()
            },
            environment: Vec::new(),
        }
    }

    /// Reads, distributes and validates all keys. Collects all problems into one error.
    pub fn load(&self, services: &[Service]) -> Result<(Settings, Report), ConfigError> {
        self.load_for(services, Purpose::Serving)
    }

    /// Like [`Sources::load`], for a migration of these services. The values that only a server uses are not
    /// validated, because their secrets may be given only to the server. An unknown key is an error here too:
    /// it may be a misspelled `database_migrate_url`.
    pub fn load_for_migration(&self, services: &[Service]) -> Result<(Settings, Report), ConfigError> {
        self.load_for(services, Purpose::Migration)
    }

    fn load_for(&self, services: &[Service], purpose: Purpose) -> Result<(Settings, Report), ConfigError> {
        let mut problems = Vec::new();
        let mut builder = Config::builder();
        for (text, origin) in self.files().map_err(|p| ConfigError(vec![p]))? {
            let file = Config::builder()
                .add_source(File::from_str(&text, FileFormat::Toml))
                .build();
            match file {
                Ok(file) => builder = builder.add_source(file),
                Err(error) => problems.push(format!("{origin}: {error}")),
            }
        }
        let mut overrides = Vec::new();
        for (name, text) in &self.environment {
            let (name, key, text) = match variable(name, text) {
                Some(Ok(variable)) => variable,
                Some(Err(problem)) => {
                    problems.push(problem);
                    continue;
                }
                None => continue,
            };
            // Files of Secrets often end with a line break, which is no part of the value.
            let text = text.trim_end_matches(['\r', '\n']);
            // A Secret without a value gives an empty text. If that meant "not set", a migration, for
            // example, would be done by the role that serves.
            if text.trim().is_empty() {
                problems.push(format!(
                    "{name} is empty: give it a value, or remove the variable"
                ));
                continue;
            }
            overrides.push((key.to_lowercase().replace("__", "."), text, name));
        }
        overrides.sort();
        for assignment in &self.args.set {
            match assignment.split_once('=') {
                Some((key, text)) => overrides.push((key.trim().to_owned(), text.trim(), "--set")),
                None => problems.push(format!("--set {assignment}: write KEY=VALUE")),
            }
        }
        let mut chosen = BTreeMap::new();
        for (key, text, origin) in overrides {
            match builder.clone().set_override(key.as_str(), value_of(text)) {
                Ok(with) => builder = with,
                Err(error) => problems.push(format!("{origin} {key}: {error}")),
            }
            chosen.insert(key, origin.to_owned());
        }
        if !problems.is_empty() {
            return Err(ConfigError(problems));
        }
        let all = builder
            .build()
            .and_then(Config::try_deserialize::<Map<String, Value>>);
        let all = all.map_err(|e| ConfigError(vec![e.to_string()]))?;
        let report = Report::of(&all, chosen);
        Ok((sort(all, services, purpose)?, report))
    }

    fn files(&self) -> Result<Vec<(String, String)>, String> {
        let read = |path: &Path| {
            std::fs::read_to_string(path).map_err(|e| format!("configuration file {}: {e}", path.display()))
        };
        let mut is_read = false;
        let mut files = vec![match &self.args.config {
            Some(folder) if folder.join("default.toml").exists() => {
                is_read = true;
                (read(&folder.join("default.toml"))?, "default.toml".to_owned())
            }
            _ => (DEFAULT.to_owned(), "built-in default.toml".to_owned()),
        }];
        if let Some(profile) = &self.args.profile {
            let path = self
                .args
                .config
                .as_deref()
                .unwrap_or(Path::new("config"))
                .join(format!("{profile}.toml"));
            files.push(match (path.exists(), profile.as_str()) {
                (false, "kubernetes") => (KUBERNETES.to_owned(), "built-in kubernetes.toml".to_owned()),
                _ => {
                    is_read = true;
                    (read(&path)?, path.display().to_string())
                }
            });
        }
        match &self.args.config {
            Some(folder) if !is_read => Err(format!(
                "configuration folder {}: nothing is read from it, because it has neither default.toml nor the \
                 file of a profile",
                folder.display()
            )),
            _ => Ok(files),
        }
    }
}

/// The beginning of the names of variables that are keys of the configuration.
const PREFIX: &str = "PARTA__";

/// Returns the name, the key and the text of a variable, and `None` for a variable that is no key. The
/// problem of one that is not UTF-8 does not contain the value, which may be a secret.
fn variable<'a>(name: &'a OsStr, text: &'a OsStr) -> Option<Result<(&'a str, &'a str, &'a str), String>> {
    if !name.as_encoded_bytes().starts_with(PREFIX.as_bytes()) {
        return None;
    }
    let Some(utf8) = name.to_str() else {
        let name = name.to_string_lossy();
        return Some(Err(format!(
            "the name of the variable {name} is not UTF-8: correct or remove it"
        )));
    };
    let Some(text) = text.to_str() else {
        return Some(Err(format!(
            "{utf8} is not UTF-8: give it a text, or remove the variable"
        )));
    };
    utf8.strip_prefix(PREFIX).map(|key| Ok((utf8, key, text)))
}

/// The act for which the configuration is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Serving,
    Migration,
}

/// Parses a value. Lists and tables are written as in TOML; other values are text that the type of the key
/// parses.
fn value_of(text: &str) -> Value {
    if text.starts_with(['[', '{']) {
        let file = File::from_str(&format!("value = {text}"), FileFormat::Toml);
        if let Ok(value) = Config::builder()
            .add_source(file)
            .build()
            .and_then(|c| c.get("value"))
        {
            return value;
        }
    }
    Value::new(None, ValueKind::String(text.to_owned()))
}

/// Distributes the keys to the sections that read them.
fn sort(
    mut all: Map<String, Value>,
    services: &[Service],
    purpose: Purpose,
) -> Result<Settings, ConfigError> {
    let mut problems = Vec::new();
    let mut sections = BTreeMap::new();
    for name in SUITE
        .into_iter()
        .map(str::to_owned)
        .chain(services.iter().map(Service::section))
    {
        if sections.contains_key(&name) {
            continue;
        }
        let keys = match all.remove(&name).map(Value::into_table) {
            Some(Ok(keys)) => keys,
            Some(Err(error)) => {
                problems.push(format!("{name}: {error}"));
                continue;
            }
            None => Map::new(),
        };
        sections.insert(name.clone(), service(&name, keys, &mut problems));
    }
    for registered in services {
        if let Some(settings) = sections.get_mut(&registered.section()) {
            settings.own.skips_validation = purpose == Purpose::Migration;
            problems.extend((registered.config)(&settings.own));
        }
    }
    let settings = Settings {
        server: take(&mut all, "server", &mut problems),
        data: take(&mut all, "data", &mut problems),
        log: take(&mut all, "log", &mut problems),
        telemetry: take(&mut all, "telemetry", &mut problems),
        bus: take(&mut all, "bus", &mut problems),
        keys: take(&mut all, "keys", &mut problems),
        services: sections,
    };
    problems.extend(all.keys().map(|name| format!("unknown section or key `{name}`")));
    if purpose == Purpose::Serving {
        validate_server(&settings, &mut problems);
    }
    validate_process(&settings, &mut problems);
    validate_services(&settings, &mut problems);
    if problems.is_empty() {
        Ok(settings)
    } else {
        Err(ConfigError(problems))
    }
}

fn service(name: &str, mut keys: Map<String, Value>, problems: &mut Vec<String>) -> ServiceSettings {
    fn one<T: DeserializeOwned>(
        name: &str,
        keys: &mut Map<String, Value>,
        key: &str,
        problems: &mut Vec<String>,
    ) -> Option<T> {
        let value = keys.remove(key)?;
        if matches!(&value.kind, ValueKind::String(text) if text.is_empty()) {
            return None;
        }
        value
            .try_deserialize()
            .map_err(|e| problems.push(format!("{name}.{key}: {e}")))
            .ok()
    }
    ServiceSettings {
        database: DatabaseSettings {
            url: one::<String>(name, &mut keys, "database_url", problems).map(Into::into),
            migrate_url: one::<String>(name, &mut keys, "database_migrate_url", problems).map(Into::into),
            max_connections: one(name, &mut keys, "database_max_connections", problems),
        },
        listen: one(name, &mut keys, "listen", problems),
        address: one(name, &mut keys, "address", problems),
        own: Section {
            name: name.to_owned(),
            keys: given(keys),
            skips_validation: false,
        },
    }
}

/// Removes keys with an empty text, which means that a key is not set. TOML itself cannot express this.
fn given(mut keys: Map<String, Value>) -> Map<String, Value> {
    keys.retain(|_, value| !matches!(&value.kind, ValueKind::String(text) if text.is_empty()));
    keys
}

fn take<T: DeserializeOwned + Default>(
    all: &mut Map<String, Value>,
    name: &str,
    problems: &mut Vec<String>,
) -> T {
    let Some(mut value) = all.remove(name) else {
        return T::default();
    };
    if let ValueKind::Table(keys) = &mut value.kind {
        *keys = given(std::mem::take(keys));
    }
    value.try_deserialize().unwrap_or_else(|error| {
        problems.push(format!("{name}: {error}"));
        T::default()
    })
}

/// Times in seconds. A sum of the clock and a time without a limit would overflow.
const SECONDS: RangeInclusive<u64> = 1..=3600;
/// Numbers of calls, streams and connections. A semaphore has a limit, too.
const COUNTS: RangeInclusive<u64> = 1..=1_000_000;
/// The last connections are kept for small clients, which needs this many.
const CONNECTIONS: RangeInclusive<u64> = 64..=1_000_000;
/// Bytes of requests. One client has three quarters of the limit, which must be more than the files of a
/// roster, 64 MiB. The largest limit is 1 TiB.
const REQUEST_BYTES: RangeInclusive<u64> = 96 * 1024 * 1024..=1 << 40;
/// Connections to a database: at least two that read and two that write. SQLite reserves memory for each.
const DATABASE_CONNECTIONS: RangeInclusive<u64> = 4..=1000;

fn outside(range: &RangeInclusive<u64>, name: &str) -> String {
    format!("{name} must lie between {} and {}", range.start(), range.end())
}

fn validate_server(settings: &Settings, problems: &mut Vec<String>) {
    let server = &settings.server;
    if server.tls_certificate_file.is_some() != server.tls_key_file.is_some() {
        problems.push("server: set both tls_certificate_file and tls_key_file, or neither".into());
    }
    let drain = 0..=*SECONDS.end();
    let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
    for (key, value, range) in [
        ("max_calls", count(server.max_calls), &COUNTS),
        ("max_streams", count(server.max_streams), &COUNTS),
        ("max_connections", count(server.max_connections), &CONNECTIONS),
        (
            "max_connections_per_client",
            count(server.max_connections_per_client),
            &COUNTS,
        ),
        (
            "max_streams_per_connection",
            u64::from(server.max_streams_per_connection),
            &COUNTS,
        ),
        ("max_request_bytes", server.max_request_bytes, &REQUEST_BYTES),
        ("receive_seconds", server.receive_seconds, &SECONDS),
        ("stall_seconds", server.stall_seconds, &SECONDS),
        ("grace_seconds", server.grace_seconds, &SECONDS),
        ("drain_seconds", server.drain_seconds, &drain),
    ] {
        if !range.contains(&value) {
            problems.push(format!("server: {}", outside(range, key)));
        }
    }
    if let Err(problem) = TrustedProxies::parse(&server.trusted_proxies) {
        problems.push(format!("server: trusted_proxies: {problem}"));
    }
    if settings.keys.issuer.is_empty() {
        problems.push("keys: issuer must not be empty".into());
    }
}

/// Validates what a migration uses as well.
fn validate_process(settings: &Settings, problems: &mut Vec<String>) {
    let telemetry = &settings.telemetry;
    if !(0.0..=1.0).contains(&telemetry.sample_ratio) {
        problems.push("telemetry: sample_ratio must lie between 0 and 1".into());
    }
    let is_http = |url: &String| {
        let host = url.strip_prefix("http://");
        host.is_some_and(|host| !host.is_empty() && !host.starts_with(['/', ':']))
    };
    if telemetry.otlp_endpoint.as_ref().is_some_and(|url| !is_http(url)) {
        problems.push(
            "telemetry: otlp_endpoint must be http://host:port; a collector beside the services adds TLS"
                .into(),
        );
    }
}

fn validate_services(settings: &Settings, problems: &mut Vec<String>) {
    for (name, service) in &settings.services {
        if service
            .address
            .as_ref()
            .is_some_and(|a| !a.starts_with("http://") && !a.starts_with("https://"))
        {
            problems.push(format!("{name}: address must begin with http:// or https://"));
        }
        let connections = service.database.max_connections.map(u64::from);
        if connections.is_some_and(|connections| !DATABASE_CONNECTIONS.contains(&connections)) {
            let key = outside(&DATABASE_CONNECTIONS, "database_max_connections");
            problems.push(format!("{name}: {key}"));
        }
        let is_postgres = |url: &SecretString| DatabaseConfig::new(url.expose_secret()).is_postgres();
        let database = &service.database;
        let serves = database.url.as_ref().is_some_and(is_postgres);
        let migrates = database.migrate_url.as_ref().map(is_postgres);
        if migrates.is_some_and(|migrates| !migrates || !serves) {
            problems.push(format!(
                "{name}: database_migrate_url and database_url must both begin with postgres://, or leave the first one out"
            ));
        }
    }
}

/// All problems of the configuration.
#[derive(Debug, Clone)]
pub struct ConfigError(pub Vec<String>);

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the configuration has {} problem(s): {}",
            self.0.len(),
            self.0.join("; ")
        )
    }
}

impl std::error::Error for ConfigError {}
