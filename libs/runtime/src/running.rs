//! A started process and its shutdown.
use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use futures::future::join_all;
use parta_database::Db;
use tokio::time::Instant;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{config::ServerSettings, health::Health};

/// The time that the databases have to close if the grace period is over.
const CLOSE: Duration = Duration::from_secs(1);

/// A group of tasks that are canceled and awaited together.
#[derive(Default)]
pub(crate) struct TaskGroup {
    pub(crate) cancel: CancellationToken,
    pub(crate) tracker: TaskTracker,
}

impl TaskGroup {
    /// Cancels all tasks and waits until `deadline`. Remaining tasks end with the process.
    async fn end(&self, what: &'static str, deadline: Instant) {
        self.cancel.cancel();
        self.tracker.close();
        if tokio::time::timeout_at(deadline, self.tracker.wait())
            .await
            .is_err()
        {
            tracing::warn!(what, left = self.tracker.len(), "shutdown timed out");
        }
    }
}

/// Running services. If it is dropped without [`Running::stop`], the services run until the runtime ends.
pub struct Running {
    pub(crate) address: SocketAddr,
    pub(crate) health_address: Option<SocketAddr>,
    pub(crate) operator_key_file: PathBuf,
    pub(crate) server: ServerSettings,
    pub(crate) health: Health,
    pub(crate) draining: CancellationToken,
    pub(crate) outer: TaskGroup,
    pub(crate) inner: TaskGroup,
    pub(crate) consumers: TaskGroup,
    pub(crate) tasks: TaskGroup,
    pub(crate) dbs: Vec<Db>,
    /// Canceled when a command replaces a database of this process.
    pub(crate) replaced: CancellationToken,
}

impl Running {
    /// Returns the listen address, including a port chosen by the system.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the address of the port that serves health checks without TLS, if there is one.
    pub fn health_address(&self) -> Option<SocketAddr> {
        self.health_address
    }

    /// Returns the URL of the server for a client on this machine: `http://127.0.0.1:7710`. If the server
    /// listens on all addresses, the URL contains the loopback address.
    pub fn url(&self) -> String {
        let scheme = match self.server.tls_certificate_file {
            Some(_) => "https",
            None => "http",
        };
        let mut address = self.address;
        match address.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
            IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
            _ => {}
        }
        format!("{scheme}://{address}")
    }

    /// Returns the file with the operator credential, which only its owner can read.
    pub fn operator_key_file(&self) -> &Path {
        &self.operator_key_file
    }

    /// Shuts down in order: health checks report NOT_SERVING, load balancers notice, new connections are
    /// refused, streams end, calls in flight complete, consumers stop, then tasks, then calls between
    /// services; the databases close last. All of it together takes at most `server.grace_seconds`, and
    /// one second more if a database does not respond.
    pub async fn stop(self) {
        let grace = Duration::from_secs(self.server.grace_seconds);
        let deadline = Instant::now() + grace;
        // Background work and the databases get the last quarter, at most five seconds.
        let calls = deadline - (grace / 4).min(Duration::from_secs(5));
        self.health.stopping().await;
        let drain = Duration::from_secs(self.server.drain_seconds).min(grace / 2);
        if !drain.is_zero() {
            tokio::time::sleep(drain).await;
        }
        self.outer.cancel.cancel();
        self.draining.cancel();
        self.outer.end("calls in flight", calls).await;
        self.consumers.end("consumers of feeds", deadline).await;
        self.tasks.end("background tasks", deadline).await;
        self.inner.end("calls among services", deadline).await;
        // They close in a moment, unless the host of a database is lost.
        let last = deadline.max(Instant::now() + CLOSE);
        let closed = join_all(self.dbs.iter().map(Db::close));
        if tokio::time::timeout_at(last, closed).await.is_err() {
            tracing::warn!("databases did not close in time");
        }
        tracing::info!("stopped");
    }

    /// Serves until a signal arrives, and then shuts down in order. Does the same, and fails, if a command
    /// replaces a database: what this process knows of it is no longer true.
    pub(crate) async fn until(self, signals: &mut StopSignals) -> anyhow::Result<()> {
        let is_replaced = tokio::select! {
            () = signals.recv() => false,
            () = self.replaced.cancelled() => true,
        };
        tracing::info!("stopping");
        self.stop().await;
        anyhow::ensure!(!is_replaced, "a command replaces a database of this process");
        Ok(())
    }
}

/// Handles SIGTERM and SIGINT. The handlers are installed before anything starts: otherwise, a signal between
/// the log line `serving` and the wait for signals would kill the process without an ordered shutdown.
pub(crate) struct StopSignals {
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
}

impl StopSignals {
    #[cfg(unix)]
    pub(crate) fn listen() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    #[cfg(not(unix))]
    pub(crate) fn listen() -> std::io::Result<Self> {
        Ok(Self {})
    }

    /// Waits for a signal; returns at once if one arrived since the last call.
    #[cfg(unix)]
    pub(crate) async fn recv(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }

    #[cfg(not(unix))]
    pub(crate) async fn recv(&mut self) {
        if let Err(error) = tokio::signal::ctrl_c().await {
            tracing::error!(%error, "signal handler failed");
            std::future::pending::<()>().await;
        }
    }
}
