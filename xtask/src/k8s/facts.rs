//! Facts from other files of the project, with which the manifests must agree.
use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context as _;

use super::read;

pub(crate) struct Facts {
    /// The services in kebab-case.
    pub(crate) services: BTreeSet<String>,
    /// The port on which each service listens in a cluster.
    pub(crate) port: u64,
    /// The limit of connections of one pod to its database.
    pub(crate) connections: u64,
    /// The keys of the configuration, `section.key`.
    pub(crate) config_keys: BTreeSet<String>,
    /// The services that each service calls or whose feed it consumes.
    pub(crate) peers: BTreeMap<String, BTreeSet<String>>,
    /// The full names of the public gRPC services of each service.
    pub(crate) public: BTreeMap<String, BTreeSet<String>>,
    /// The files that the keys of each service consist of.
    pub(crate) keys: BTreeMap<String, BTreeSet<String>>,
    /// The names of the health checks that are no gRPC services.
    pub(crate) health: BTreeSet<String>,
    /// The documented metrics, with underscores in place of points, as Prometheus names them.
    pub(crate) metrics: BTreeSet<String>,
}

impl Facts {
    pub(crate) fn read() -> anyhow::Result<Self> {
        let default: toml::Table = read("config/default.toml")?.parse()?;
        let cluster: toml::Table = read("config/kubernetes.toml")?.parse()?;
        let sections = || {
            default
                .iter()
                .filter_map(|(name, section)| Some((name, section.as_table()?)))
        };
        let services = sections()
            .filter(|(_, section)| section.contains_key("listen") && section.contains_key("address"));
        let services: BTreeSet<String> = services.map(|(name, _)| name.replace('_', "-")).collect();
        let config_keys = sections()
            .flat_map(|(name, section)| section.keys().map(move |key| format!("{name}.{key}")))
            .collect();
        let port = cluster["chat"]["listen"]
            .as_str()
            .and_then(|listen| listen.rsplit_once(':'))
            .and_then(|(_, port)| port.parse().ok())
            .context("config/kubernetes.toml: the port of chat")?;
        let connections = default["chat"]["database_max_connections"].as_integer();
        let connections: Option<u64> = connections.and_then(|count| count.try_into().ok());
        Ok(Self {
            // One more holds the lock of the process that serves.
            connections: connections.context("config/default.toml: the connections of chat")? + 1,
            peers: peers(&read("ARCHITECTURE.md")?, &services)?,
            public: public(&services)?,
            keys: keys(&read("libs/runtime/src/keys.rs")?, &services)?,
            health: constants(&read("libs/runtime/src/health.rs")?)
                .into_values()
                .collect(),
            metrics: metrics(&read("docs/logging.md")?),
            services,
            port,
            config_keys,
        })
    }
}

/// Reads the table of calls and feeds. Every service also fetches the keys of tokens from membership.
fn peers(
    architecture: &str,
    services: &BTreeSet<String>,
) -> anyhow::Result<BTreeMap<String, BTreeSet<String>>> {
    let (_, table) = architecture
        .split_once("| service | owns | calls | consumes the feeds of |")
        .context("ARCHITECTURE.md has no table of calls and feeds")?;
    let mut peers = BTreeMap::new();
    for line in table.lines().skip(2).take_while(|line| line.starts_with('|')) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [service, _, calls, feeds] = cells[..] else {
            anyhow::bail!("ARCHITECTURE.md: {line}");
        };
        let words = calls
            .split([',', ' '])
            .chain(feeds.split([',', ' ']))
            .chain(["membership"]);
        let named = words.filter(|word| *word != service && services.contains(*word));
        peers.insert(service.to_owned(), named.map(str::to_owned).collect());
    }
    anyhow::ensure!(
        peers.keys().eq(services),
        "ARCHITECTURE.md: the table has other services"
    );
    Ok(peers)
}

fn public(services: &BTreeSet<String>) -> anyhow::Result<BTreeMap<String, BTreeSet<String>>> {
    let pool = crate::docs::pool()?;
    let of = |service: &String| {
        let package = format!("parta.{}.v1", service.replace('-', "_"));
        let names = pool.services().filter(|s| s.package_name() == package);
        (service.clone(), names.map(|s| s.full_name().to_owned()).collect())
    };
    Ok(services.iter().map(of).collect())
}

/// The names in the first column of the table of metrics.
fn metrics(document: &str) -> BTreeSet<String> {
    let (_, table) = document.split_once("| metric |").unwrap_or_default();
    let rows = table.lines().skip(2).take_while(|line| line.starts_with('|'));
    rows.filter_map(|row| row.split('|').nth(1))
        .flat_map(|names| names.split(','))
        .map(|name| name.trim().trim_matches('`').replace('.', "_"))
        .collect()
}

/// The files that `parta keys make --kubernetes` puts into the Secret of each service.
fn keys(source: &str, services: &BTreeSet<String>) -> anyhow::Result<BTreeMap<String, BTreeSet<String>>> {
    let names = constants(source);
    let file = |constant: &str| {
        let found = names.get(constant).cloned();
        found.with_context(|| format!("libs/runtime/src/keys.rs has no {constant}"))
    };
    let (suite, digest, signing) = (
        file("SUITE_SECRET")?,
        file("OPERATOR_DIGEST")?,
        file("TOKEN_SIGNING")?,
    );
    let signs = file("MEMBERSHIP")?;
    let of = |service: &String| {
        let mut files = BTreeSet::from([suite.clone(), digest.clone(), format!("{service}.pem")]);
        files.extend(services.iter().map(|other| format!("{other}.pub")));
        files.extend((*service == signs).then(|| signing.clone()));
        (service.clone(), files)
    };
    Ok(services.iter().map(of).collect())
}

/// The texts of the constants of a source file that are not empty.
fn constants(source: &str) -> BTreeMap<String, String> {
    let constants = source.lines().filter_map(|line| {
        let (name, value) = line.strip_prefix("const ")?.split_once(": &str = \"")?;
        Some((name.to_owned(), value.strip_suffix("\";")?.to_owned()))
    });
    constants.filter(|(_, value)| !value.is_empty()).collect()
}
