//! The keys that the runtime itself reads.
use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf};

use secrecy::SecretString;
use serde::Deserialize;

use super::Section;

/// Everything that was chosen.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The public listener and how it stops.
    pub server: ServerSettings,
    /// Files of this process.
    pub data: DataSettings,
    /// What is logged, and how.
    pub log: LogSettings,
    /// Where traces, metrics and logs are exported to.
    pub telemetry: TelemetrySettings,
    /// The live bus.
    pub bus: BusSettings,
    /// Secrets and identities.
    pub keys: KeySettings,
    /// By section name: `org_registry`.
    pub services: BTreeMap<String, ServiceSettings>,
}

/// `[server]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ServerSettings {
    /// Address of the one port when all services run in one process.
    pub listen: SocketAddr,
    /// PEM files of the listener's certificate chain and key; both or none.
    pub tls_certificate_file: Option<PathBuf>,
    /// See `tls_certificate_file`.
    pub tls_key_file: Option<PathBuf>,
    /// PEM file of the authority that the other services' certificates come from; system roots without it.
    pub tls_authority_file: Option<PathBuf>,
    /// Unary calls served at once per service.
    pub max_calls: usize,
    /// Open streams per service.
    pub max_streams: usize,
    /// Time between reporting NOT_SERVING and refusing connections, for load balancers to notice.
    pub drain_seconds: u64,
    /// Time for calls in flight when it stops.
    pub grace_seconds: u64,
}

impl Default for ServerSettings {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 7710)),
            tls_certificate_file: None,
            tls_key_file: None,
            tls_authority_file: None,
            max_calls: 1024,
            max_streams: 16_384,
            drain_seconds: 0,
            grace_seconds: 20,
        }
    }
}

/// `[data]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DataSettings {
    /// Folder of databases, keys and uploads; made at the first start.
    pub folder: PathBuf,
}

impl Default for DataSettings {
    fn default() -> Self {
        Self {
            folder: PathBuf::from("data"),
        }
    }
}

/// Form of the log on standard error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One object a line.
    Json,
}

/// `[log]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogSettings {
    /// Directives of `tracing_subscriber::EnvFilter`.
    pub filter: String,
    /// Text or JSON.
    pub format: LogFormat,
}

impl Default for LogSettings {
    fn default() -> Self {
        Self {
            filter: "info,sqlx=warn,sea_orm=warn,h2=warn,hyper=warn".into(),
            format: LogFormat::Text,
        }
    }
}

/// `[telemetry]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TelemetrySettings {
    /// Address of an OTLP collector over gRPC; nothing is exported without it.
    pub otlp_endpoint: Option<String>,
    /// Share of new traces that are recorded, 0 to 1.
    pub sample_ratio: f64,
}

impl Default for TelemetrySettings {
    fn default() -> Self {
        Self {
            otlp_endpoint: None,
            sample_ratio: 1.0,
        }
    }
}

/// `[bus]`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BusSettings {
    /// `nats://` or `tls://` address of NATS; the bus stays inside the process without it.
    pub url: Option<String>,
    /// The service's account, where a password is used.
    pub user: Option<String>,
    /// Its password.
    pub password: Option<SecretString>,
    /// The seed of its key pair, where that is used.
    pub nkey_seed: Option<SecretString>,
    /// Certificate authorities to trust beside the system's.
    pub ca_file: Option<PathBuf>,
}

/// `[keys]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct KeySettings {
    /// Folder of the keys; `keys` in the data folder without it. Missing keys are made there only by one process with all services.
    pub folder: Option<PathBuf>,
    /// `iss` of the access tokens.
    pub issuer: String,
}

impl Default for KeySettings {
    fn default() -> Self {
        Self {
            folder: None,
            issuer: "parta".into(),
        }
    }
}

/// The keys of a service's section that the runtime reads.
#[derive(Debug, Clone, Default)]
pub struct ServiceSettings {
    /// Its database.
    pub database: DatabaseSettings,
    /// Where it listens when it runs alone.
    pub listen: Option<SocketAddr>,
    /// Where the others reach it when it runs alone, `http://host:port`.
    pub address: Option<String>,
    /// Everything else, for the service.
    pub own: Section,
}

/// Database keys of a service's section.
#[derive(Debug, Clone, Default)]
pub struct DatabaseSettings {
    /// `sqlite://…` or `postgres://…`; a file in the data folder when all services run in one process and it is empty.
    pub url: Option<SecretString>,
    /// Connections to PostgreSQL, or readers of the SQLite file.
    pub max_connections: Option<u32>,
}
