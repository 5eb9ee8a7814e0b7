use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use sea_orm::{
    DbErr, ExecResult, QueryResult, RuntimeErr, Statement,
    sqlx::{
        self, AssertSqlSafe, Connection as _, Executor as _, IntoArguments, PgConnection, Postgres,
        postgres::PgRow, query::Query,
    },
};
use sea_query_sqlx::SqlxValues;
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::task::task_tracker::TaskTrackerToken;

use crate::{
    connection_cache::{CachedConnection, ConnectionCache},
    error::{Class, class_of_driver},
    session::{lost, reply_within, set_statement_timeout},
};

/// A PostgreSQL connection in use. When dropped, it is cached for the next user.
///
/// Each statement has a deadline. It is later than the time after which the server ends a statement, so that
/// only a server that does not reply misses it. The connection is then given up: it is closed at once, and
/// every later use fails.
pub struct PooledConnection {
    cache: Arc<ConnectionCache>,
    /// `None` after the connection was given up.
    live: Option<Live>,
    /// The time after which the server ends a statement of this session.
    statement_timeout: Duration,
    /// Whether the session has settings of its own, so that no other user may get it.
    changed: bool,
    /// Whether the server has replied to every statement.
    replied: bool,
    /// Whether a transaction may be open.
    open: bool,
}

/// An open connection with its marks of being in use.
struct Live {
    cached: CachedConnection,
    permit: OwnedSemaphorePermit,
    used: TaskTrackerToken,
}

impl PooledConnection {
    pub(crate) fn new(
        cache: Arc<ConnectionCache>,
        cached: CachedConnection,
        permit: OwnedSemaphorePermit,
    ) -> Self {
        Self {
            statement_timeout: cache.opener().statement_timeout(),
            live: Some(Live {
                cached,
                permit,
                used: cache.used().token(),
            }),
            cache,
            changed: false,
            replied: true,
            open: false,
        }
    }

    /// Makes the server end statements of this session after `limit`, if that is earlier.
    pub(crate) async fn limit_statements(&mut self, limit: Duration) -> Result<(), DbErr> {
        if limit < self.statement_timeout {
            self.changed = true;
            self.at_once(&set_statement_timeout(limit)).await?;
            self.statement_timeout = limit;
        }
        Ok(())
    }

    /// Returns whether the connection can be used. If it was idle for more than a second, it is pinged.
    pub async fn is_usable(&mut self) -> bool {
        let limit = self.cache.opener().reply_timeout();
        let Some(live) = &mut self.live else {
            return false;
        };
        let checked = live.cached.check(limit).await;
        self.keep(checked).is_ok()
    }

    /// Runs a query and returns its rows.
    pub async fn fetch_all<A>(&mut self, query: Query<'_, Postgres, A>) -> Result<Vec<PgRow>, sqlx::Error>
    where
        A: Send + IntoArguments<Postgres>,
    {
        let limit = self.limit();
        let rows = reply_within(limit, query.fetch_all(self.connection()?)).await;
        self.keep(rows)
    }

    /// The longest wait for the reply to a statement.
    fn limit(&self) -> Duration {
        self.statement_timeout + self.cache.opener().reply_timeout()
    }

    /// Returns the connection for a use whose result is passed to [`PooledConnection::keep`].
    fn connection(&mut self) -> Result<&mut PgConnection, sqlx::Error> {
        self.replied = false;
        let live = self
            .live
            .as_mut()
            .ok_or_else(|| lost("the connection was given up"))?;
        Ok(&mut live.cached.connection)
    }

    /// Records the result of a use. A connection that failed is closed.
    fn keep<T>(&mut self, result: Result<T, sqlx::Error>) -> Result<T, sqlx::Error> {
        let failure = result.as_ref().err();
        match failure.map(class_of_driver) {
            Some(Class::Broken) => {
                if let (Some(error), Some(live)) = (failure, self.live.take()) {
                    drop(live);
                    self.cache.lost(error);
                }
            }
            _ => {
                self.replied = matches!(failure, None | Some(sqlx::Error::Database(_)));
                if let Some(live) = &mut self.live {
                    live.cached.last_used = Instant::now();
                }
            }
        }
        result
    }

    /// Runs a statement to which the server replies at once.
    async fn at_once(&mut self, sql: &str) -> Result<(), DbErr> {
        let limit = self.cache.opener().reply_timeout();
        self.run(limit, sql).await.map(drop)
    }

    async fn run(&mut self, limit: Duration, sql: &str) -> Result<ExecResult, DbErr> {
        let statement = AssertSqlSafe(sql.to_owned());
        let connection = self.connection().map_err(execution_failed)?;
        let done = reply_within(limit, connection.execute(statement)).await;
        self.keep(done).map(ExecResult::from).map_err(execution_failed)
    }

    pub(crate) async fn execute(&mut self, statement: Statement) -> Result<ExecResult, DbErr> {
        let limit = self.limit();
        let connection = self.connection().map_err(execution_failed)?;
        let done = reply_within(limit, query(statement).execute(connection)).await;
        self.keep(done).map(ExecResult::from).map_err(execution_failed)
    }

    pub(crate) async fn execute_unprepared(&mut self, sql: &str) -> Result<ExecResult, DbErr> {
        self.run(self.limit(), sql).await
    }

    pub(crate) async fn query_one(&mut self, statement: Statement) -> Result<Option<QueryResult>, DbErr> {
        let limit = self.limit();
        let connection = self.connection().map_err(query_failed)?;
        let row = reply_within(limit, query(statement).fetch_optional(connection)).await;
        let row = self.keep(row).map_err(query_failed)?;
        Ok(row.map(QueryResult::from))
    }

    pub(crate) async fn query_all(&mut self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        let rows = self.fetch_all(query(statement)).await.map_err(query_failed)?;
        Ok(rows.into_iter().map(QueryResult::from).collect())
    }
}

impl Drop for PooledConnection {
    fn drop(&mut self) {
        let Some(mut live) = self.live.take() else {
            return;
        };
        if self.changed {
            return;
        }
        if self.replied && !self.open {
            // Cached before the permit is released, so that the next user finds it.
            self.cache.put(live.cached);
            return;
        }
        // Canceled in the middle of a use: the reply, and the end of the transaction, are awaited before the
        // connection is reused. Without a runtime it is closed.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        let (cache, open) = (self.cache.clone(), self.open);
        let recover = async move {
            let limit = cache.opener().reply_timeout();
            let connection = &mut live.cached.connection;
            let recovered = if open {
                reply_within(limit, connection.execute("ROLLBACK"))
                    .await
                    .map(drop)
            } else {
                reply_within(limit, connection.ping()).await
            };
            let Live { cached, permit, used } = live;
            match recovered {
                Ok(()) => cache.put(cached),
                // It may only be busy with a slow statement, so that this shows nothing about the others.
                Err(error) => {
                    tracing::debug!(%error, "abandoned database connection closed");
                    drop(cached);
                }
            }
            drop((permit, used));
        };
        self.cache.used().spawn_on(recover, &runtime);
    }
}

/// An open transaction. It is rolled back when dropped.
pub(crate) struct CachedTransaction(tokio::sync::Mutex<PooledConnection>);

impl ConnectionCache {
    /// Acquires a connection. Waits while all connections are in use.
    pub(crate) async fn take(self: &Arc<Self>) -> Result<PooledConnection, DbErr> {
        let (cached, permit) = self.acquire().await?;
        Ok(PooledConnection::new(self.clone(), cached, permit))
    }

    pub(crate) async fn begin(self: &Arc<Self>) -> Result<CachedTransaction, DbErr> {
        let started = Instant::now();
        loop {
            let mut connection = self.take().await?;
            // Set before the statement is sent: a canceled future may have begun the transaction.
            connection.open = true;
            match connection.at_once("BEGIN").await {
                Ok(()) => return Ok(CachedTransaction(tokio::sync::Mutex::new(connection))),
                // The connection was lost while it was idle. Nothing has happened in it.
                Err(_) if connection.live.is_none() && started.elapsed() < self.acquire_timeout() => {}
                Err(error) => return Err(error),
            }
        }
    }
}

impl CachedTransaction {
    pub(crate) async fn commit(self) -> Result<(), DbErr> {
        let mut connection = self.0.into_inner();
        // A commit can wait for a disk or for a standby.
        let ended = connection.run(connection.limit(), "COMMIT").await;
        // After an error the transaction may still be open; it is then rolled back when it is dropped.
        connection.open = ended.is_err();
        ended.map(drop)
    }

    pub(crate) async fn rollback(self) -> Result<(), DbErr> {
        let mut connection = self.0.into_inner();
        let ended = connection.at_once("ROLLBACK").await;
        connection.open = ended.is_err();
        ended
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
