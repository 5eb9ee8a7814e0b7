//! The keys that the runtime reads.
use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf};

use secrecy::SecretString;
use serde::Deserialize;

use super::Section;

/// The complete configuration.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The public listener and its shutdown.
    pub server: ServerSettings,
    /// The files of this process.
    pub data: DataSettings,
    /// The filter and the format of the log.
    pub log: LogSettings,
    /// The export of traces, metrics and logs.
    pub telemetry: TelemetrySettings,
    /// The live bus.
    pub bus: BusSettings,
    /// Secrets and identities.
    pub keys: KeySettings,
    /// The settings of each service by section name, for example `org_registry`.
    pub services: BTreeMap<String, ServiceSettings>,
}

/// `[server]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ServerSettings {
    /// Address of the single port when all services run in one process.
    pub listen: SocketAddr,
    /// PEM file of the certificate chain of the listener. Requires `tls_key_file`.
    pub tls_certificate_file: Option<PathBuf>,
    /// PEM file of the private key of the listener. Requires `tls_certificate_file`.
    pub tls_key_file: Option<PathBuf>,
    /// PEM file of the authority that issues the certificates of the other services; without it, the system
    /// roots are used.
    pub tls_authority_file: Option<PathBuf>,
    /// Address of a second port that serves health checks without TLS; without it, there is none.
    pub health_listen: Option<SocketAddr>,
    /// Maximum number of concurrent unary calls per service.
    pub max_calls: usize,
    /// Maximum number of open streams per service.
    pub max_streams: usize,
    /// Maximum number of connections. The clients of one network have at most half.
    pub max_connections: usize,
    /// Maximum number of connections of one client, which is an IPv4 address or an IPv6 /64 network.
    pub max_connections_per_client: usize,
    /// Maximum number of concurrent calls and streams of one connection.
    pub max_streams_per_connection: u32,
    /// Addresses and networks of the proxies that may name the address of their client in `x-forwarded-for`.
    pub trusted_proxies: Vec<String>,
    /// Time, in seconds, that a request may take to arrive.
    pub receive_seconds: u64,
    /// Bytes of requests, beyond small ones, that may be in memory while they arrive. One client has at most
    /// three quarters.
    pub max_request_bytes: u64,
    /// Time, in seconds, after which a response of which its client takes nothing is ended.
    pub stall_seconds: u64,
    /// Time, in seconds, between reporting NOT_SERVING and refusing connections, so that load balancers
    /// notice. At most half of `grace_seconds` is used.
    pub drain_seconds: u64,
    /// Time, in seconds, that the whole shutdown takes at most, `drain_seconds` included. Kubernetes must
    /// wait longer (`terminationGracePeriodSeconds`).
    pub grace_seconds: u64,
}

impl Default for ServerSettings {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 7710)),
            tls_certificate_file: None,
            tls_key_file: None,
            tls_authority_file: None,
            health_listen: None,
            max_calls: 1024,
            max_streams: 16_384,
            max_connections: 16_384,
            max_connections_per_client: 4_096,
            max_streams_per_connection: 256,
            trusted_proxies: Vec::new(),
            receive_seconds: 120,
            max_request_bytes: 134_217_728,
            stall_seconds: 60,
            drain_seconds: 0,
            grace_seconds: 20,
        }
    }
}

/// `[data]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DataSettings {
    /// Folder of databases, keys and uploads; created at the first start.
    pub folder: PathBuf,
}

impl Default for DataSettings {
    fn default() -> Self {
        Self {
            folder: PathBuf::from("data"),
        }
    }
}

/// Format of the log on standard error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// Human-readable text.
    Text,
    /// One JSON object per line.
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
    /// Address of an OTLP collector over gRPC; without it, nothing is exported.
    pub otlp_endpoint: Option<String>,
    /// Fraction of new traces that are recorded, from 0 to 1.
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
    /// `nats://` or `tls://` address of NATS; without it, the bus works within the process only.
    pub url: Option<String>,
    /// The user name, if NATS requires a password.
    pub user: Option<String>,
    /// The password.
    pub password: Option<SecretString>,
    /// The seed of the key pair, if NATS requires one.
    pub nkey_seed: Option<SecretString>,
    /// Certificate authorities to trust in addition to those of the system.
    pub ca_file: Option<PathBuf>,
}

/// `[keys]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct KeySettings {
    /// Folder of the keys; without it, `keys` in the data folder. Only a process with all services creates
    /// missing keys.
    pub folder: Option<PathBuf>,
    /// The `iss` claim of the access tokens.
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

/// The keys of the section of a service that the runtime reads.
#[derive(Debug, Clone, Default)]
pub struct ServiceSettings {
    /// Its database.
    pub database: DatabaseSettings,
    /// The listen address when the service runs standalone.
    pub listen: Option<SocketAddr>,
    /// The address at which other services reach it when it runs standalone, `http://host:port`.
    pub address: Option<String>,
    /// All other keys, which the service reads.
    pub own: Section,
}

/// The database keys of the section of a service.
#[derive(Debug, Clone, Default)]
pub struct DatabaseSettings {
    /// `sqlite://…` or `postgres://…`. If it is empty and all services run in one process, a file in the data
    /// folder.
    pub url: Option<SecretString>,
    /// `postgres://…` of the same database by the role that owns the schema. Migrations use it and grant the
    /// role of `url` what serving needs. Without it, the role of `url` migrates.
    pub migrate_url: Option<SecretString>,
    /// Number of connections to PostgreSQL, or of readers of the SQLite file.
    pub max_connections: Option<u32>,
}
