//! Watches the session of a migration from a second one. A migration may take hours, so its statements have
//! no deadline; a migration whose server has vanished is given up all the same.
use std::future::{Future, pending};

use sea_orm::{
    ConnectionTrait, Statement,
    sqlx::{self, AssertSqlSafe, Connection as _, Executor as _, Row as _},
};
use tokio::sync::oneshot;

use crate::{
    StorageError, Transaction,
    session::{Opener, reply_within},
};

/// The session is given up after this many looks in a row that find it dead. One look shows too little: its
/// client may be between two statements, or the server may start again.
const LOOKS: u32 = 3;

/// A session of the server. The time at which it began distinguishes it from one of another server with the
/// same process id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WatchedSession {
    process_id: i32,
    begin: String,
}

/// The state of the session at a look.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Found {
    /// A statement runs, or waits for a lock.
    Running,
    /// The server waits for the next statement since this time.
    Waiting(String),
    /// The server has no such session.
    Ended,
}

impl WatchedSession {
    /// Returns the session of a transaction.
    pub(crate) async fn of(tx: &Transaction) -> Result<Self, StorageError> {
        let sql =
            "SELECT pid, backend_start::text AS begin FROM pg_stat_activity WHERE pid = pg_backend_pid()";
        let row = tx
            .query_one_raw(Statement::from_string(tx.get_database_backend(), sql))
            .await?;
        let row = row.ok_or_else(|| StorageError::Fault("a session does not see itself".into()))?;
        Ok(Self {
            process_id: row.try_get("", "pid")?,
            begin: row.try_get("", "begin")?,
        })
    }

    /// Looks at the session through another one of the same role.
    async fn look(&self, opener: &Opener) -> Result<Found, sqlx::Error> {
        let mut connection = opener.open().await?;
        let sql = format!(
            "SELECT backend_start::text AS begin, state, state_change::text AS since FROM pg_stat_activity \
             WHERE pid = {}",
            self.process_id
        );
        let query = connection.fetch_optional(sqlx::raw_sql(AssertSqlSafe(sql)));
        let row = reply_within(opener.reply_timeout(), query).await?;
        let found = match row {
            Some(row) if row.try_get::<String, _>("begin")? == self.begin => {
                let state: Option<String> = row.try_get("state")?;
                if state.as_deref() == Some("active") {
                    Found::Running
                } else {
                    Found::Waiting(row.try_get::<Option<_>, _>("since")?.unwrap_or_default())
                }
            }
            _ => Found::Ended,
        };
        reply_within(opener.reply_timeout(), connection.close()).await?;
        Ok(found)
    }

    /// Completes when the session is lost.
    async fn lost(&self, opener: &Opener) -> StorageError {
        let mut looks = Looks::default();
        loop {
            tokio::time::sleep(opener.reply_timeout()).await;
            if let Some(cause) = looks.add(self.look(opener).await) {
                return StorageError::Unavailable(cause);
            }
        }
    }
}

/// The looks in a row that found the session dead.
#[derive(Default)]
struct Looks {
    dead: u32,
    last: Option<Found>,
}

impl Looks {
    /// Adds a look. Returns the cause if the session is lost.
    fn add(&mut self, look: Result<Found, sqlx::Error>) -> Option<String> {
        let (found, cause) = match look {
            // The server lives and has refused the second session, for example because it has too many.
            Err(sqlx::Error::Database(_)) => (Some(Found::Running), String::new()),
            Err(error) => (
                None,
                format!("the server has vanished during the migration: {error}"),
            ),
            Ok(found) => (
                Some(found),
                "the connection of the migration is lost, its server waits for a statement or has ended"
                    .to_owned(),
            ),
        };
        let same = found.is_none() || found == self.last || self.last.is_none();
        self.dead = match &found {
            Some(Found::Running) => 0,
            _ if same => self.dead + 1,
            // The session has done something since.
            _ => 1,
        };
        self.last = found.filter(|found| *found != Found::Running);
        (self.dead >= LOOKS).then_some(cause)
    }
}

/// Runs work that announces the session that it uses. Fails when that session is lost.
pub(crate) async fn unless_lost<T>(
    opener: &Opener,
    session: oneshot::Receiver<WatchedSession>,
    work: impl Future<Output = Result<T, StorageError>>,
) -> Result<T, StorageError> {
    let lost = async {
        match session.await {
            Ok(session) => session.lost(opener).await,
            // The work has failed before.
            Err(_) => pending().await,
        }
    };
    tokio::select! {
        biased;
        done = work => done,
        error = lost => Err(error),
    }
}
