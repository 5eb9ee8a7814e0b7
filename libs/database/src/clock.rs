//! The clock of the database server, for what replicas with different clocks compare.

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use sea_orm::{ConnectionTrait as _, Statement};

use crate::{Db, StorageError, Tx};

impl Db {
    /// Returns the SQL expression for the clock of the database server, in milliseconds since 1970. It is
    /// constant within a statement. On SQLite, it is the clock of this machine.
    pub fn clock_millis(&self) -> String {
        match self.env().clock.database_now() {
            Some(time) => time.timestamp_millis().to_string(),
            None if self.is_postgres() => {
                "(EXTRACT(EPOCH FROM statement_timestamp()) * 1000)::BIGINT".to_owned()
            }
            // The last operation makes an integer of it.
            None => "(round(unixepoch('subsec') * 1000) | 0)".to_owned(),
        }
    }

    /// Returns the SQL expression for the time `age` ago by the clock of the database server, for comparisons
    /// with columns of times. It is constant within a statement.
    pub fn clock_time_before(&self, age: TimeDelta) -> String {
        let seconds = age.num_seconds();
        match (self.env().clock.database_now(), self.is_postgres()) {
            (Some(now), is_postgres) => {
                // The text that the driver stores in SQLite.
                let time = (now - age).to_rfc3339_opts(SecondsFormat::AutoSi, false);
                let kind = if is_postgres { "TIMESTAMPTZ " } else { "" };
                format!("{kind}'{time}'")
            }
            (None, true) => format!("(statement_timestamp() - INTERVAL '{seconds} seconds')"),
            (None, false) => format!("strftime('%Y-%m-%dT%H:%M:%f+00:00', 'now', '-{seconds} seconds')"),
        }
    }
}

impl Tx {
    /// Returns the time of the clock of the database server, to the millisecond.
    pub async fn database_now(&self) -> Result<DateTime<Utc>, StorageError> {
        let sql = format!("SELECT {} AS millis", self.db().clock_millis());
        let statement = Statement::from_string(self.get_database_backend(), sql);
        let row = self.query_one_raw(statement).await?;
        let fault = || StorageError::Fault("the database returned no time".to_owned());
        let millis = row.ok_or_else(fault)?.try_get("", "millis")?;
        DateTime::from_timestamp_millis(millis).ok_or_else(fault)
    }
}
