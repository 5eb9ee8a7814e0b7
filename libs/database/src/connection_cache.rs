//! Reuses connections to PostgreSQL without a ping on release (ADR 0009).
//!
//! The pool of the driver pings each released connection, which costs every query and transaction one more
//! round trip and two more context switches. Therefore connections return to this cache. They return to the
//! pool only after a failure, after a canceled call, and periodically, so that the pool can close
//! connections that are too old or too many.
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use sea_orm::{
    ConnAcquireErr, DbErr, ExecResult, QueryResult, RuntimeErr, Statement,
    sqlx::{
        self, AssertSqlSafe, Connection as _, Executor as _, PgConnection, PgPool, Postgres,
        pool::PoolConnection, query::Query,
    },
};
use sea_query_sqlx::SqlxValues;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A connection that was idle for longer is pinged before it is used. A connection that died more recently
/// fails the call that uses it, as a connection that dies during the call does.
pub(crate) const IDLE_CHECK_AFTER: Duration = Duration::from_secs(1);
/// The longest time that a connection stays outside the pool, whether or not it is in use.
const MAX_AGE: Duration = Duration::from_secs(60);

/// The connections of one pool, which has no other user.
pub(crate) struct ConnectionCache {
    pool: PgPool,
    /// One permit per connection of the pool, so that a caller that finds no idle connection can acquire one
    /// from it.
    permits: Arc<Semaphore>,
    timeout: Duration,
    idle: Mutex<IdleConnections>,
}

#[derive(Default)]
struct IdleConnections {
    closed: bool,
    /// A stack: the last released connection is reused first, so that unneeded connections age.
    connections: Vec<(CachedConnection, Instant)>,
}

struct CachedConnection {
    connection: PoolConnection<Postgres>,
    /// The time when the pool released it.
    since: Instant,
}

impl ConnectionCache {
    pub(crate) fn new(pool: PgPool, timeout: Duration) -> Self {
        let permits = usize::try_from(pool.options().get_max_connections()).unwrap_or(Semaphore::MAX_PERMITS);
        Self {
            pool,
            permits: Arc::new(Semaphore::new(permits)),
            timeout,
            idle: Mutex::default(),
        }
    }

    fn idle(&self) -> MutexGuard<'_, IdleConnections> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Acquires a connection. Waits while all connections are in use.
    pub(crate) async fn take(self: &Arc<Self>) -> Result<PooledConnection, DbErr> {
        let take = async {
            let permit = self.permits.clone().acquire_owned().await;
            let permit = permit.map_err(|_| DbErr::ConnectionAcquire(ConnAcquireErr::ConnectionClosed))?;
            let cached = match self.rested().await {
                Some(cached) => cached,
                None => CachedConnection {
                    connection: self.pool.acquire().await.map_err(acquire_failed)?,
                    since: Instant::now(),
                },
            };
            Ok(PooledConnection {
                cache: self.clone(),
                cached: Some(cached),
                permit: Some(permit),
                whole: true,
                open: false,
            })
        };
        let taken = tokio::time::timeout(self.timeout, take).await;
        taken.unwrap_or(Err(DbErr::ConnectionAcquire(ConnAcquireErr::Timeout)))
    }

    async fn rested(&self) -> Option<CachedConnection> {
        loop {
            // The lock is not held during the ping.
            let last = self.idle().connections.pop();
            let (mut cached, since) = last?;
            // A connection that fails the ping is dropped into the pool, which closes it.
            if since.elapsed() < IDLE_CHECK_AFTER || cached.connection.ping().await.is_ok() {
                return Some(cached);
            }
        }
    }

    pub(crate) async fn begin(self: &Arc<Self>) -> Result<CachedTransaction, DbErr> {
        let mut connection = self.take().await?;
        // Set before the statement is sent: a canceled future may have begun the transaction.
        connection.open = true;
        let begun = connection.connection().execute("BEGIN").await;
        connection.keep(begun).map_err(execution_failed)?;
        Ok(CachedTransaction(tokio::sync::Mutex::new(connection)))
    }

    /// Returns all idle connections to the pool, for users that bypass the cache.
    pub(crate) fn release(&self) {
        let idle = std::mem::take(&mut self.idle().connections);
        drop(idle);
    }

    /// Empties the cache. Connections released later return to the pool.
    pub(crate) fn close(&self) {
        self.idle().closed = true;
        self.permits.close();
        self.release();
    }

    fn put(&self, cached: CachedConnection) {
        let mut idle = self.idle();
        let now = Instant::now();
        let mut old = Vec::new();
        if idle.closed || now.duration_since(cached.since) > MAX_AGE {
            old.push(cached);
        } else {
            idle.connections.push((cached, now));
        }
        let long_resting = idle
            .connections
            .iter()
            .take_while(|(_, since)| now.duration_since(*since) > MAX_AGE)
            .count();
        old.extend(idle.connections.drain(..long_resting).map(|(cached, _)| cached));
        drop(idle);
        // Dropped into the pool after the lock is released.
        drop(old);
    }
}

/// A PostgreSQL connection in use. When dropped, it is cached for the next user.
pub struct PooledConnection {
    cache: Arc<ConnectionCache>,
    cached: Option<CachedConnection>,
    permit: Option<OwnedSemaphorePermit>,
    /// Whether every statement completed without an error.
    whole: bool,
    /// Whether a transaction may be open.
    open: bool,
}

impl PooledConnection {
    /// Returns the connection. Pass the result of each use to [`PooledConnection::keep`]; otherwise the
    /// connection is not cached.
    ///
    /// # Panics
    ///
    /// Never: the connection is present until the value is dropped.
    #[expect(clippy::expect_used, reason = "the connection is present until the drop")]
    pub fn connection(&mut self) -> &mut PgConnection {
        self.whole = false;
        &mut self.cached.as_mut().expect("not dropped").connection
    }

    /// Records the result of a use. An error prevents the connection from being cached.
    pub fn keep<T, E>(&mut self, result: Result<T, E>) -> Result<T, E> {
        self.whole = result.is_ok();
        result
    }

    pub(crate) async fn execute(&mut self, statement: Statement) -> Result<ExecResult, DbErr> {
        let done = query(statement).execute(self.connection()).await;
        self.keep(done).map(ExecResult::from).map_err(execution_failed)
    }

    pub(crate) async fn execute_unprepared(&mut self, sql: &str) -> Result<ExecResult, DbErr> {
        let done = self.connection().execute(AssertSqlSafe(sql.to_owned())).await;
        self.keep(done).map(ExecResult::from).map_err(execution_failed)
    }

    pub(crate) async fn query_one(&mut self, statement: Statement) -> Result<Option<QueryResult>, DbErr> {
        let row = query(statement).fetch_optional(self.connection()).await;
        let row = self.keep(row).map_err(query_failed)?;
        Ok(row.map(QueryResult::from))
    }

    pub(crate) async fn query_all(&mut self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        let rows = query(statement).fetch_all(self.connection()).await;
        let rows = self.keep(rows).map_err(query_failed)?;
        Ok(rows.into_iter().map(QueryResult::from).collect())
    }
}

impl Drop for PooledConnection {
    fn drop(&mut self) {
        let (Some(mut cached), permit) = (self.cached.take(), self.permit.take()) else {
            return;
        };
        if !self.open {
            if self.whole {
                self.cache.put(cached);
            }
            return;
        }
        // Canceled in the middle of a use. The transaction must end before the connection can be reused.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            cached.connection.close_on_drop();
            return;
        };
        let cache = self.cache.clone();
        #[expect(
            clippy::disallowed_methods,
            reason = "Drop has no tracker; the task is one rollback and holds the pool's permit"
        )]
        runtime.spawn(async move {
            let _permit = permit;
            match cached.connection.execute("ROLLBACK").await {
                Ok(_) => cache.put(cached),
                Err(error) => {
                    tracing::debug!(%error, "rollback of an abandoned transaction failed");
                    cached.connection.close_on_drop();
                }
            }
        });
    }
}

/// An open transaction. It is rolled back when dropped.
pub(crate) struct CachedTransaction(tokio::sync::Mutex<PooledConnection>);

impl CachedTransaction {
    pub(crate) async fn commit(self) -> Result<(), DbErr> {
        self.end("COMMIT").await
    }

    pub(crate) async fn rollback(self) -> Result<(), DbErr> {
        self.end("ROLLBACK").await
    }

    async fn end(self, how: &'static str) -> Result<(), DbErr> {
        let mut connection = self.0.into_inner();
        let ended = connection.connection().execute(how).await;
        let ended = connection.keep(ended).map_err(execution_failed);
        // After an error the transaction may still be open; it is then rolled back when it is dropped.
        connection.open = ended.is_err();
        ended.map(drop)
    }

    /// Locks the connection for one statement.
    pub(crate) async fn connection(&self) -> tokio::sync::MutexGuard<'_, PooledConnection> {
        self.0.lock().await
    }
}

fn query(statement: Statement) -> Query<'static, Postgres, SqlxValues> {
    let values = statement.values.unwrap_or(sea_orm::Values(Vec::new()));
    // The SQL comes from the query builder or from this repository. Values are always bound.
    sqlx::query_with(AssertSqlSafe(statement.sql), SqlxValues(values))
}

fn execution_failed(error: sqlx::Error) -> DbErr {
    DbErr::Exec(RuntimeErr::SqlxError(error.into()))
}

fn query_failed(error: sqlx::Error) -> DbErr {
    DbErr::Query(RuntimeErr::SqlxError(error.into()))
}

fn acquire_failed(error: sqlx::Error) -> DbErr {
    match error {
        sqlx::Error::PoolTimedOut => DbErr::ConnectionAcquire(ConnAcquireErr::Timeout),
        sqlx::Error::PoolClosed => DbErr::ConnectionAcquire(ConnAcquireErr::ConnectionClosed),
        error => DbErr::Conn(RuntimeErr::SqlxError(error.into())),
    }
}
