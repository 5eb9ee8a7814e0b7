//! Connections to PostgreSQL that are kept from use to use (ADR 0009).
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
pub(crate) const REST: Duration = Duration::from_secs(1);
/// So long a connection stays away from the pool, in use or not.
const AWAY: Duration = Duration::from_secs(60);

/// The connections of one pool, which nobody else takes any from.
pub(crate) struct Kept {
    pool: PgPool,
    /// As many as the pool has connections, so that whoever finds none resting gets one of the pool.
    permits: Arc<Semaphore>,
    timeout: Duration,
    resting: Mutex<Resting>,
}

#[derive(Default)]
struct Resting {
    closed: bool,
    /// The one that came last is taken first, so that what is not needed grows old.
    connections: Vec<(Held, Instant)>,
}

struct Held {
    connection: PoolConnection<Postgres>,
    /// When the pool gave it away.
    since: Instant,
}

impl Kept {
    pub(crate) fn new(pool: PgPool, timeout: Duration) -> Self {
        let permits = usize::try_from(pool.options().get_max_connections()).unwrap_or(Semaphore::MAX_PERMITS);
        Self {
            pool,
            permits: Arc::new(Semaphore::new(permits)),
            timeout,
            resting: Mutex::default(),
        }
    }

    fn resting(&self) -> MutexGuard<'_, Resting> {
        self.resting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection, waiting for one where all are in use.
    pub(crate) async fn take(self: &Arc<Self>) -> Result<Lease, DbErr> {
        let take = async {
            let permit = self.permits.clone().acquire_owned().await;
            let permit = permit.map_err(|_| DbErr::ConnectionAcquire(ConnAcquireErr::ConnectionClosed))?;
            let held = match self.rested().await {
                Some(held) => held,
                None => Held {
                    connection: self.pool.acquire().await.map_err(not_acquired)?,
                    since: Instant::now(),
                },
            };
            Ok(Lease {
                kept: self.clone(),
                held: Some(held),
                permit: Some(permit),
                whole: true,
                open: false,
            })
        };
        let taken = tokio::time::timeout(self.timeout, take).await;
        taken.unwrap_or(Err(DbErr::ConnectionAcquire(ConnAcquireErr::Timeout)))
    }

    async fn rested(&self) -> Option<Held> {
        loop {
            // The guard is not held over the question.
            let last = self.resting().connections.pop();
            let (mut held, since) = last?;
            // One that does not answer ends in the pool, which finds the same.
            if since.elapsed() < REST || held.connection.ping().await.is_ok() {
                return Some(held);
            }
        }
    }

    /// Begins a transaction.
    pub(crate) async fn begin(self: &Arc<Self>) -> Result<Open, DbErr> {
        let mut lease = self.take().await?;
        // Before it is sent: given up meanwhile, it may have been begun.
        lease.open = true;
        let begun = lease.connection().execute("BEGIN").await;
        lease.keep(begun).map_err(failed)?;
        Ok(Open(tokio::sync::Mutex::new(lease)))
    }

    /// Gives all that rest back to the pool, for whoever has to use that.
    pub(crate) fn give_back(&self) {
        let resting = std::mem::take(&mut self.resting().connections);
        drop(resting);
    }

    /// Keeps nothing any more.
    pub(crate) fn close(&self) {
        self.resting().closed = true;
        self.permits.close();
        self.give_back();
    }

    fn put(&self, held: Held) {
        let mut resting = self.resting();
        let now = Instant::now();
        let mut old = Vec::new();
        if resting.closed || now.duration_since(held.since) > AWAY {
            old.push(held);
        } else {
            resting.connections.push((held, now));
        }
        let long_resting = resting
            .connections
            .iter()
            .take_while(|(_, since)| now.duration_since(*since) > AWAY)
            .count();
        old.extend(resting.connections.drain(..long_resting).map(|(held, _)| held));
        drop(resting);
        // To the pool, where no lock of ours is held.
        drop(old);
    }
}

/// A connection of PostgreSQL in use; dropped, it is kept for the next user.
pub struct Lease {
    kept: Arc<Kept>,
    held: Option<Held>,
    permit: Option<OwnedSemaphorePermit>,
    /// Whether all that was asked has been answered, and no error among it.
    whole: bool,
    /// Whether a transaction may be open.
    open: bool,
}

impl Lease {
    /// The connection; what comes of using it has to be given to [`Lease::keep`], or it will not be kept.
    ///
    /// # Panics
    ///
    /// Never: a lease has its connection until it is dropped.
    #[expect(
        clippy::expect_used,
        reason = "a lease has its connection until it is dropped"
    )]
    pub fn connection(&mut self) -> &mut PgConnection {
        self.whole = false;
        &mut self.held.as_mut().expect("not dropped").connection
    }

    /// Says that a use is over and what came of it.
    pub fn keep<T, E>(&mut self, result: Result<T, E>) -> Result<T, E> {
        self.whole = result.is_ok();
        result
    }

    pub(crate) async fn execute(&mut self, statement: Statement) -> Result<ExecResult, DbErr> {
        let done = query(statement).execute(self.connection()).await;
        self.keep(done).map(ExecResult::from).map_err(failed)
    }

    pub(crate) async fn execute_unprepared(&mut self, sql: &str) -> Result<ExecResult, DbErr> {
        let done = self.connection().execute(AssertSqlSafe(sql.to_owned())).await;
        self.keep(done).map(ExecResult::from).map_err(failed)
    }

    pub(crate) async fn query_one(&mut self, statement: Statement) -> Result<Option<QueryResult>, DbErr> {
        let row = query(statement).fetch_optional(self.connection()).await;
        let row = self.keep(row).map_err(asked_in_vain)?;
        Ok(row.map(QueryResult::from))
    }

    pub(crate) async fn query_all(&mut self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        let rows = query(statement).fetch_all(self.connection()).await;
        let rows = self.keep(rows).map_err(asked_in_vain)?;
        Ok(rows.into_iter().map(QueryResult::from).collect())
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let (Some(mut held), permit) = (self.held.take(), self.permit.take()) else {
            return;
        };
        if !self.open {
            if self.whole {
                self.kept.put(held);
            }
            return;
        }
        // Given up in the middle. Nobody may get the connection before the transaction has ended.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            held.connection.close_on_drop();
            return;
        };
        let kept = self.kept.clone();
        runtime.spawn(async move {
            let _permit = permit;
            match held.connection.execute("ROLLBACK").await {
                Ok(_) => kept.put(held),
                Err(error) => {
                    tracing::debug!(%error, "a transaction that was given up cannot be rolled back");
                    held.connection.close_on_drop();
                }
            }
        });
    }
}

/// An open transaction; dropped, it is rolled back.
pub(crate) struct Open(tokio::sync::Mutex<Lease>);

impl Open {
    pub(crate) async fn commit(self) -> Result<(), DbErr> {
        self.end("COMMIT").await
    }

    pub(crate) async fn rollback(self) -> Result<(), DbErr> {
        self.end("ROLLBACK").await
    }

    async fn end(self, how: &'static str) -> Result<(), DbErr> {
        let mut lease = self.0.into_inner();
        let ended = lease.connection().execute(how).await;
        let ended = lease.keep(ended).map_err(failed);
        // After an error it may still be open, and is rolled back when it is dropped.
        lease.open = ended.is_err();
        ended.map(drop)
    }

    /// Its connection, one statement at a time.
    pub(crate) async fn lease(&self) -> tokio::sync::MutexGuard<'_, Lease> {
        self.0.lock().await
    }
}

fn query(statement: Statement) -> Query<'static, Postgres, SqlxValues> {
    let values = statement.values.unwrap_or(sea_orm::Values(Vec::new()));
    // Made by the query builder or written here; values are bound, never spelt out.
    sqlx::query_with(AssertSqlSafe(statement.sql), SqlxValues(values))
}

fn failed(error: sqlx::Error) -> DbErr {
    DbErr::Exec(RuntimeErr::SqlxError(error.into()))
}

fn asked_in_vain(error: sqlx::Error) -> DbErr {
    DbErr::Query(RuntimeErr::SqlxError(error.into()))
}

fn not_acquired(error: sqlx::Error) -> DbErr {
    match error {
        sqlx::Error::PoolTimedOut => DbErr::ConnectionAcquire(ConnAcquireErr::Timeout),
        sqlx::Error::PoolClosed => DbErr::ConnectionAcquire(ConnAcquireErr::ConnectionClosed),
        error => DbErr::Conn(RuntimeErr::SqlxError(error.into())),
    }
}
