//! PostgreSQL and NATS.
use std::{
    collections::BTreeMap,
    net::IpAddr,
    time::{Duration, Instant},
};

use sea_orm::{ConnectionTrait as _, Database};
use testcontainers::{
    ContainerAsync, GenericImage, ImageExt as _,
    core::{ContainerPort, WaitFor},
    runners::AsyncRunner as _,
};

use crate::{SERVER_IMAGES, given, network::Network};

/// The names of the servers on Kubernetes, which the chart and its README use.
const POSTGRESQL: &str = "postgresql";
const NATS: &str = "nats";
const START_LIMIT: Duration = Duration::from_secs(60);

/// The servers that all services use.
pub(crate) struct Servers {
    network: Network,
    postgresql: ContainerAsync<GenericImage>,
    nats: ContainerAsync<GenericImage>,
}

impl Servers {
    /// Starts both, and creates a database for each service.
    pub(crate) async fn start(network: &Network) -> Self {
        let images = given(SERVER_IMAGES);
        let (postgresql, nats) = images.split_once(',').expect("two images");
        let (postgresql, nats) = tokio::join!(
            start(
                network,
                postgresql,
                5432,
                "database system is ready to accept connections"
            ),
            start(network, nats, 4222, "Server is ready"),
        );
        let hosts = Self::hosts(network);
        network.assign_address(postgresql.id(), hosts[0].1).await;
        network.assign_address(nats.id(), hosts[1].1).await;
        let servers = Self {
            network: network.clone(),
            postgresql,
            nats,
        };
        servers.create_databases().await;
        servers
    }

    /// Returns the names of PostgreSQL and of NATS with their addresses.
    pub(crate) fn hosts(network: &Network) -> [(&'static str, IpAddr); 2] {
        // The last address is that of the broadcast.
        [
            (POSTGRESQL, network.server_address(1)),
            (NATS, network.server_address(2)),
        ]
    }

    /// Returns the URL by which this machine reaches PostgreSQL.
    fn url(&self) -> String {
        let [(_, address), _] = Self::hosts(&self.network);
        format!("postgres://postgres@{address}:5432/postgres")
    }

    /// Returns the Secret of the database of a service: the URLs of the role that serves and of the role that
    /// owns the schema.
    pub(crate) fn database_secret(service: &str) -> BTreeMap<String, String> {
        let url = |role: &str| format!("postgres://{role}:{}@{POSTGRESQL}:5432/{service}", password(role));
        let urls = [("url", service.to_owned()), ("migrate-url", owner(service))];
        urls.map(|(key, role)| (key.to_owned(), url(&role))).into()
    }

    async fn create_databases(&self) {
        let database = Database::connect(self.url())
            .await
            .expect("a connection to PostgreSQL");
        for service in parta::SERVICES {
            let (serving, owner) = (service.name, owner(service.name));
            for create in [
                format!("CREATE ROLE \"{serving}\" LOGIN PASSWORD '{}'", password(serving)),
                format!("CREATE ROLE \"{owner}\" LOGIN PASSWORD '{}'", password(&owner)),
                format!("CREATE DATABASE \"{serving}\" OWNER \"{owner}\""),
            ] {
                database.execute_unprepared(&create).await.expect("a database");
            }
        }
        database.close().await.expect("the connection closes");
    }

    /// Ends PostgreSQL as a power cut does, and starts it again. Returns how long it was away.
    pub(crate) async fn crash_postgresql(&self) -> Duration {
        let began = Instant::now();
        self.crash(self.postgresql.id()).await;
        // It recovers first. Nothing announces the end of the recovery to a client.
        while Database::connect(self.url()).await.is_err() {
            assert!(began.elapsed() < START_LIMIT, "PostgreSQL does not recover");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        began.elapsed()
    }

    /// Ends NATS and starts it again.
    pub(crate) async fn crash_nats(&self) {
        self.crash(self.nats.id()).await;
    }

    async fn crash(&self, container: &str) {
        let docker = self.network.docker();
        let killed = docker.kill_container(container, None).await;
        killed.expect("the container runs");
        let started = docker.start_container(container, None).await;
        started.expect("the container starts");
    }
}

/// Returns the role that owns the schema of a service.
fn owner(service: &str) -> String {
    format!("{service}-owner")
}

/// Returns the password of a role, which only the Secret of its service has.
fn password(role: &str) -> String {
    format!("password-of-{role}")
}

async fn start(network: &Network, image: &str, port: u16, ready: &str) -> ContainerAsync<GenericImage> {
    let (repository, tag) = image.rsplit_once(':').expect("an image with a tag");
    let started = GenericImage::new(repository, tag)
        .with_exposed_port(ContainerPort::Tcp(port))
        .with_wait_for(WaitFor::message_on_stderr(ready))
        .with_network(network.nodes())
        .with_startup_timeout(START_LIMIT)
        .start()
        .await;
    started.unwrap_or_else(|error| panic!("{image}: {error}"))
}
