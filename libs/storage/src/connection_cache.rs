//! Connections to PostgreSQL that are cache from use to use (ADR 0009).
//!
//! The driver's pool asks a connection whether it lives each time it comes back: a round trip and two waking processes more
//! for every query and every transaction. So a connection comes back to here, and to the pool only after a failure, after a
//! call that was given up, and once in a while, so that the pool can end those that are old or too many.
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

/// A connection that rested for longer is asked whether it lives before it is used. What died within a second fails the
/// call that finds it, as one that dies later in the call does.
pub(crate) const IDLE_CHECK_AFTER: Duration = Duration::from_secs(1);
/// So long a connection stays away from the pool, in use or not.
const MAX_AGE: Duration = Duration::from_secs(60);

/// The connections of one pool, which nobody else takes any from.
pub(crate) struct ConnectionCache {
    pool: PgPool,
    /// As many as the pool has connections, so that whoever finds none idle gets one of the pool.
    permits: Arc<Semaphore>,
    timeout: Duration,
    idle: Mutex<IdleConnections>,
}

#[derive(Default)]
struct IdleConnections {
    closed: bool,
    /// The one that came last is taken first, so that what is not needed grows old.
    connections: Vec<(CachedConnection, Instant)>,
}

struct CachedConnection {
    connection: PoolConnection<Postgres>,
    /// When the pool gave it away.
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

    /// A connection, waiting for one where all are in use.
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
            // The guard is not cached over the question.
            let last = self.idle().connections.pop();
            let (mut cached, since) = last?;
            // One that does not answer ends in the pool, which finds the same.
            if since.elapsed() < IDLE_CHECK_AFTER || cached.connection.ping().await.is_ok() {
                return Some(cached);
            }
        }
    }

    /// Begins a transaction.
    pub(crate) async fn begin(self: &Arc<Self>) -> Result<CachedTransaction, DbErr> {
        let mut connection = self.take().await?;
        // Before it is sent: given up meanwhile, it may have been begun.
        connection.open = true;
        let begun = connection.connection().execute("BEGIN").await;
        connection.keep(begun).map_err(execution_failed)?;
        Ok(CachedTransaction(tokio::sync::Mutex::new(connection)))
    }

    /// Gives all that rest back to the pool, for whoever has to use that.
    pub(crate) fn give_back(&self) {
        let idle = std::mem::take(&mut self.idle().connections);
        drop(idle);
    }

    /// Keeps nothing any more.
    pub(crate) fn close(&self) {
        self.idle().closed = true;
        self.permits.close();
        self.give_back();
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
        // To the pool, where no lock of ours is cached.
        drop(old);
    }
}

/// A connection of PostgreSQL in use; dropped, it is cache for the next user.
pub struct PooledConnection {
    cache: Arc<ConnectionCache>,
    cached: Option<CachedConnection>,
    permit: Option<OwnedSemaphorePermit>,
    /// Whether all that was asked has been answered, and no error among it.
    whole: bool,
    /// Whether a transaction may be open.
    open: bool,
}

impl PooledConnection {
    /// The connection; what comes of using it has to be given to [`PooledConnection::keep`], or it will not be cache.
    ///
    /// # Panics
    ///
    /// Never: a connection has its connection until it is dropped.
    #[expect(
        clippy::expect_used,
        reason = "a connection has its connection until it is dropped"
    )]
    pub fn connection(&mut self) -> &mut PgConnection {
        self.whole = false;
        &mut self.cached.as_mut().expect("not dropped").connection
    }

    /// Says that a use is over and what came of it.
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
        // Given up in the middle. Nobody may get the connection before the transaction has ended.
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
                    tracing::debug!(%error, "a transaction that was given up cannot be rolled back");
                    cached.connection.close_on_drop();
                }
            }
        });
    }
}

/// An open transaction; dropped, it is rolled back.
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
        // After an error it may still be open, and is rolled back when it is dropped.
        connection.open = ended.is_err();
        ended.map(drop)
    }

    /// Its connection, one statement at a time.
    pub(crate) async fn connection(&self) -> tokio::sync::MutexGuard<'_, PooledConnection> {
        self.0.lock().await
    }
}

fn query(statement: Statement) -> Query<'static, Postgres, SqlxValues> {
    let values = statement.values.unwrap_or(sea_orm::Values(Vec::new()));
    // Made by the query builder or written here; values are bound, never spelled out.
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
