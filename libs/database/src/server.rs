//! Checks at the start whether a PostgreSQL server keeps what this library promises.
use std::time::Duration;

use sea_orm::{
    DbErr, RuntimeErr,
    sqlx::{self, AssertSqlSafe, Executor as _, PgConnection, Row as _, postgres::PgRow},
};

use crate::{Db, StorageError, connection_cache::ConnectionCache, session::reply_within};

/// Attempts to catch a pooler that changes the server connection between transactions. One is enough unless
/// other clients of the pooler are busy at the same moment.
const POOLER_ATTEMPTS: usize = 3;

const SETTINGS: &str = "SELECT current_setting('fsync') AS fsync,
    current_setting('full_page_writes') AS full_page_writes,
    current_setting('synchronous_commit') AS synchronous_commit,
    current_setting('default_transaction_isolation') AS default_transaction_isolation,
    current_setting('default_transaction_read_only') AS default_transaction_read_only,
    pg_is_in_recovery() AS is_standby";

impl Db {
    /// Checks that a PostgreSQL server stores acknowledged writes, that it applies the isolation of each
    /// session, and that no pooler gives the sessions of this process to each other. On SQLite, the settings
    /// are verified when the file is opened.
    ///
    /// It makes one attempt to connect. A server that is absent or accepts no writes is
    /// [`StorageError::Unavailable`], because a later attempt can succeed; a setting that has to change is
    /// [`StorageError::Config`].
    pub async fn check_server(&self) -> Result<(), StorageError> {
        let (Some(writers), Some(readers)) = (self.writer().cache(), self.conn().cache()) else {
            return Ok(());
        };
        let mut writer = open(writers).await?;
        let mut reader = open(readers).await?;
        // The sessions come first, because another client can change the settings of a shared one.
        check_sessions(&mut writer, &mut reader).await?;
        let settings = Settings::read(&mut writer).await?;
        settings.check_durable()?;
        settings.check_writable()?;
        settings.check_isolation("read committed")?;
        let settings = Settings::read(&mut reader).await?;
        settings.check_isolation("repeatable read")
    }
}

/// A session that is used only for the checks.
struct Session {
    connection: PgConnection,
    limit: Duration,
}

async fn open(cache: &ConnectionCache) -> Result<Session, StorageError> {
    let opener = cache.opener();
    Ok(Session {
        connection: opener.open().await.map_err(failed)?,
        limit: opener.reply_timeout(),
    })
}

impl Session {
    /// Runs a query without preparing it: behind a pooler, another client may have prepared a statement of
    /// the same name.
    async fn row(&mut self, sql: &'static str) -> Result<PgRow, sqlx::Error> {
        reply_within(self.limit, self.connection.fetch_one(sqlx::raw_sql(sql))).await
    }

    async fn execute(&mut self, sql: &'static str) -> Result<(), sqlx::Error> {
        let done = self.connection.execute(AssertSqlSafe(sql));
        reply_within(self.limit, done).await.map(drop)
    }

    /// Returns the process of the server that runs the statements of the session.
    async fn process(&mut self) -> Result<i32, sqlx::Error> {
        self.row("SELECT pg_backend_pid()").await?.try_get(0)
    }
}

fn failed(error: sqlx::Error) -> StorageError {
    DbErr::Conn(RuntimeErr::SqlxError(error.into())).into()
}

/// The settings of a session that correctness depends on.
struct Settings {
    fsync: String,
    full_page_writes: String,
    synchronous_commit: String,
    isolation: String,
    read_only: String,
    is_standby: bool,
}

impl Settings {
    async fn read(session: &mut Session) -> Result<Self, StorageError> {
        let row = session.row(SETTINGS).await.map_err(failed)?;
        let settings = || {
            Ok(Self {
                fsync: row.try_get("fsync")?,
                full_page_writes: row.try_get("full_page_writes")?,
                synchronous_commit: row.try_get("synchronous_commit")?,
                isolation: row.try_get("default_transaction_isolation")?,
                read_only: row.try_get("default_transaction_read_only")?,
                is_standby: row.try_get("is_standby")?,
            })
        };
        settings().map_err(failed)
    }

    /// Refuses a server that acknowledges a commit before it is on its disk. The other values of
    /// `synchronous_commit` differ only in what they await of standbys.
    fn check_durable(&self) -> Result<(), StorageError> {
        let refuse = |name, cause, remedy| {
            Err(StorageError::Config(format!(
                "{name} of PostgreSQL is off, so that {cause}; set it to {remedy}"
            )))
        };
        if self.fsync == "off" {
            return refuse("fsync", "a power cut destroys the database", "on");
        }
        if self.full_page_writes == "off" {
            return refuse("full_page_writes", "a power cut can corrupt pages", "on");
        }
        if self.synchronous_commit == "off" {
            return refuse(
                "synchronous_commit",
                "a crash loses acknowledged writes",
                "on (local, remote_write and remote_apply are accepted too), also for the role and the database",
            );
        }
        Ok(())
    }

    /// A server that accepts no writes may become the primary, or get space on its disk.
    fn check_writable(&self) -> Result<(), StorageError> {
        let cause = if self.is_standby {
            "it is a standby"
        } else if self.read_only != "off" {
            "default_transaction_read_only is on"
        } else {
            return Ok(());
        };
        Err(StorageError::Unavailable(format!(
            "the PostgreSQL server accepts no writes: {cause}"
        )))
    }

    fn check_isolation(&self, expected: &str) -> Result<(), StorageError> {
        if self.isolation == expected {
            return Ok(());
        }
        Err(StorageError::Config(format!(
            "default_transaction_isolation of PostgreSQL is {} although the session has set it to {expected}; connect \
             without a pooler, or with PgBouncer in session mode",
            self.isolation
        )))
    }
}

/// Refuses a pooler that gives a server connection to another session after each transaction. The settings of
/// a session and its prepared statements would then reach another one.
async fn check_sessions(one: &mut Session, other: &mut Session) -> Result<(), StorageError> {
    let refused = || {
        StorageError::Config(
            "the connection goes through a pooler in transaction mode, which mixes the sessions of its clients; set \
             pool_mode = session in PgBouncer, or connect to PostgreSQL itself"
                .into(),
        )
    };
    for _ in 0..POOLER_ATTEMPTS {
        let first = one.process().await.map_err(failed)?;
        // The transaction holds the server connection that the other session has just used, if they share it.
        other.execute("BEGIN").await.map_err(|error| match &error {
            // PgBouncer refuses transactions in statement mode as a violation of the protocol.
            sqlx::Error::Database(e) if e.code().as_deref() == Some("08P01") => refused(),
            _ => failed(error),
        })?;
        // Compared before the next statement, which waits if there is only one server connection.
        if other.process().await.map_err(failed)? == first || one.process().await.map_err(failed)? != first {
            return Err(refused());
        }
        other.execute("ROLLBACK").await.map_err(failed)?;
    }
    Ok(())
}
