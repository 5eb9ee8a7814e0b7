//! Opens connections to PostgreSQL, reuses them without a ping on release (ADR 0009), and gives up those
//! whose server does not reply (ADR 0019).
//!
//! Invariants: a connection that was given up is closed at once, without waiting for its server, and neither
//! counts as in use nor is awaited; a connection is reused only if the server has replied to all of its
//! statements and no transaction is open.
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use futures::future::join_all;
use sea_orm::{
    ConnAcquireErr, DatabaseConnection, DbErr, RuntimeErr,
    sqlx::{self, Connection as _, PgConnection},
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::task::TaskTracker;

use crate::{
    metrics,
    session::{Opener, is_lost, reply_within},
};

/// A connection that was idle for longer is pinged before it is used. A connection that died more recently
/// fails the call that uses it, as a connection that dies during the call does.
pub(crate) const IDLE_CHECK_AFTER: Duration = Duration::from_secs(1);
/// A connection that was idle for longer is closed.
const MAX_IDLE: Duration = Duration::from_secs(600);
/// An older connection is closed when it is released: its server process has grown, and a new one may lead to
/// another host.
const MAX_AGE: Duration = Duration::from_secs(1800);
/// The first pause before another attempt to open a connection.
const FIRST_PAUSE: Duration = Duration::from_millis(10);

/// The connections of one kind to a PostgreSQL server.
pub(crate) struct ConnectionCache {
    opener: Opener,
    /// One permit per connection in use.
    permits: Arc<Semaphore>,
    acquire_timeout: Duration,
    idle: Mutex<IdleConnections>,
    /// The connections in use, and the tasks that make abandoned ones reusable.
    used: TaskTracker,
}

#[derive(Default)]
struct IdleConnections {
    closed: bool,
    /// A stack: the last released connection is reused first, so that unneeded connections age.
    connections: Vec<CachedConnection>,
}

/// An open connection and its times.
pub(crate) struct CachedConnection {
    pub(crate) connection: PgConnection,
    opened: Instant,
    pub(crate) last_used: Instant,
}

impl CachedConnection {
    /// Pings the connection if it was idle for some time.
    pub(crate) async fn check(&mut self, limit: Duration) -> Result<(), sqlx::Error> {
        if self.last_used.elapsed() < IDLE_CHECK_AFTER {
            return Ok(());
        }
        reply_within(limit, self.connection.ping()).await?;
        self.last_used = Instant::now();
        Ok(())
    }
}

impl ConnectionCache {
    pub(crate) fn new(opener: Opener, connections: u32, acquire_timeout: Duration) -> Self {
        let permits = usize::try_from(connections).unwrap_or(Semaphore::MAX_PERMITS);
        Self {
            opener,
            permits: Arc::new(Semaphore::new(permits)),
            acquire_timeout,
            idle: Mutex::default(),
            used: TaskTracker::new(),
        }
    }

    fn idle(&self) -> MutexGuard<'_, IdleConnections> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn opener(&self) -> &Opener {
        &self.opener
    }

    pub(crate) fn acquire_timeout(&self) -> Duration {
        self.acquire_timeout
    }

    pub(crate) fn used(&self) -> &TaskTracker {
        &self.used
    }

    /// Acquires a connection and the permit to use it. Waits while all connections are in use.
    pub(crate) async fn acquire(&self) -> Result<(CachedConnection, OwnedSemaphorePermit), DbErr> {
        let mut failure = None;
        let acquire = async {
            let permit = self.permits.clone().acquire_owned().await;
            let permit = permit.map_err(|_| DbErr::ConnectionAcquire(ConnAcquireErr::ConnectionClosed))?;
            let cached = match self.idle_connection().await {
                Some(cached) => cached,
                None => self.open(&mut failure).await.map_err(connection_failed)?,
            };
            Ok((cached, permit))
        };
        let acquired = tokio::time::timeout(self.acquire_timeout, acquire).await;
        acquired.unwrap_or_else(|_| {
            Err(failure.map_or(
                DbErr::ConnectionAcquire(ConnAcquireErr::Timeout),
                connection_failed,
            ))
        })
    }

    async fn idle_connection(&self) -> Option<CachedConnection> {
        loop {
            // The lock is not held during the ping.
            let last = self.idle().connections.pop();
            let mut cached = last?;
            match cached.check(self.opener.reply_timeout()).await {
                Ok(()) => return Some(cached),
                Err(error) => self.lost(&error),
            }
        }
    }

    /// Opens a connection. While the server starts or does not reply, it tries again until the caller gives
    /// up; `failure` is then the last error.
    async fn open(&self, failure: &mut Option<sqlx::Error>) -> Result<CachedConnection, sqlx::Error> {
        let mut pause = FIRST_PAUSE;
        loop {
            match self.opener.open().await {
                Ok(connection) => {
                    let now = Instant::now();
                    return Ok(CachedConnection {
                        connection,
                        opened: now,
                        last_used: now,
                    });
                }
                Err(error) if may_come_up(&error) => *failure = Some(error),
                Err(error) => return Err(error),
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(self.acquire_timeout / 5);
        }
    }

    /// Records that a connection failed. If its server did not reply, the idle connections are closed as
    /// well: each of them would cost its next user the same wait.
    pub(crate) fn lost(&self, error: &sqlx::Error) {
        if !is_lost(error) {
            tracing::debug!(%error, "database connection failed");
            return;
        }
        metrics::count_lost_connection();
        tracing::warn!(%error, "database connection given up");
        let suspects = std::mem::take(&mut self.idle().connections);
        drop(suspects);
    }

    /// Returns a pool of the driver with one connection, for users that need a type of the driver.
    pub(crate) fn driver_pool(&self) -> DatabaseConnection {
        self.opener.driver_pool(self.acquire_timeout)
    }

    /// Closes all connections. Waits for those in use, and gives up those that do not end in time.
    pub(crate) async fn close(&self) {
        let idle = {
            let mut idle = self.idle();
            idle.closed = true;
            std::mem::take(&mut idle.connections)
        };
        self.permits.close();
        self.used.close();
        let ended = async {
            join_all(idle.into_iter().map(|cached| cached.connection.close())).await;
            self.used.wait().await;
        };
        if tokio::time::timeout(self.opener.reply_timeout(), ended)
            .await
            .is_err()
        {
            tracing::warn!(
                left = self.used.len(),
                "database connections given up at the close"
            );
        }
    }

    /// Keeps a connection for the next user.
    pub(crate) fn put(&self, mut cached: CachedConnection) {
        let mut idle = self.idle();
        let now = Instant::now();
        let mut old = Vec::new();
        if idle.closed || now.duration_since(cached.opened) > MAX_AGE {
            old.push(cached);
        } else {
            cached.last_used = now;
            idle.connections.push(cached);
        }
        let long_idle = idle
            .connections
            .iter()
            .take_while(|cached| now.duration_since(cached.last_used) > MAX_IDLE)
            .count();
        old.extend(idle.connections.drain(..long_idle));
        drop(idle);
        // Closed after the lock is released.
        drop(old);
    }
}

/// Returns whether another attempt to open a connection can succeed soon.
fn may_come_up(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(e) => e.kind() == std::io::ErrorKind::ConnectionRefused || is_lost(error),
        sqlx::Error::Database(e) => e.is_transient_in_connect_phase(),
        _ => false,
    }
}

fn connection_failed(error: sqlx::Error) -> DbErr {
    DbErr::Conn(RuntimeErr::SqlxError(error.into()))
}
