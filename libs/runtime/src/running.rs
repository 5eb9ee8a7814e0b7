//! A started process and how it ends.
use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use parta_storage::Db;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{config::ServerSettings, health::Health};

/// Work that is told to end together and waited for.
#[derive(Default)]
pub(crate) struct TaskGroup {
    pub(crate) cancel: CancellationToken,
    pub(crate) tracker: TaskTracker,
}

impl TaskGroup {
    /// Waits for all of it, but not longer than `limit`; what is left then ends with the process.
    async fn end(&self, what: &'static str, limit: Duration) {
        self.cancel.cancel();
        self.tracker.close();
        if tokio::time::timeout(limit, self.tracker.wait()).await.is_err() {
            tracing::warn!(what, left = self.tracker.len(), "did not end in time");
        }
    }
}

/// Services that are up. Dropping it without [`Running::stop`] leaves them running until the runtime ends.
pub struct Running {
    pub(crate) address: SocketAddr,
    pub(crate) operator_key_file: PathBuf,
    pub(crate) server: ServerSettings,
    pub(crate) health: Health,
    pub(crate) draining: CancellationToken,
    pub(crate) outer: TaskGroup,
    pub(crate) inner: TaskGroup,
    pub(crate) consumers: TaskGroup,
    pub(crate) tasks: TaskGroup,
    pub(crate) dbs: Vec<Db>,
}

impl Running {
    /// Where it listens; tells the port when that was chosen by the system.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What a client on this machine gives as the server: `http://127.0.0.1:7710`. Where it listens on all addresses,
    /// that of this machine.
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

    /// File of the operator's credential, readable by its owner only.
    pub fn operator_key_file(&self) -> &Path {
        &self.operator_key_file
    }

    /// Ends in order: health says NOT_SERVING, no new connections, streams end, calls in flight finish, consumers stop,
    /// then tasks, then the calls among services, and the databases close last.
    pub async fn stop(self) {
        let grace = Duration::from_secs(self.server.grace_seconds.max(1));
        self.health.not_serving().await;
        if self.server.drain_seconds > 0 {
            tokio::time::sleep(Duration::from_secs(self.server.drain_seconds)).await;
        }
        self.outer.cancel.cancel();
        self.draining.cancel();
        self.outer.end("calls in flight", grace).await;
        self.consumers.end("consumers of feeds", grace).await;
        self.tasks.end("background tasks", grace).await;
        self.inner.end("calls among services", grace).await;
        for db in &self.dbs {
            db.close().await;
        }
        tracing::info!("stopped");
    }

    /// Serves until SIGTERM or SIGINT, then stops in order.
    pub async fn until_signal(self) -> std::io::Result<()> {
        signaled().await?;
        tracing::info!("stopping");
        self.stop().await;
        Ok(())
    }
}

#[cfg(unix)]
async fn signaled() -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

#[cfg(not(unix))]
async fn signaled() -> std::io::Result<()> {
    tokio::signal::ctrl_c().await
}
