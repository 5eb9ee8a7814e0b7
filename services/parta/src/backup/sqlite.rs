//! Copies of SQLite files.
use std::{path::Path, time::Duration};

use anyhow::Context as _;
use rusqlite::{Connection, OpenFlags};

use super::{files, manifest::Schema};

/// The time for which a copy waits while another connection has the file alone, as at the switch to the
/// write-ahead log.
const BUSY: Duration = Duration::from_secs(5);

fn open(file: &Path) -> anyhow::Result<Connection> {
    // Without CREATE: a mistake in the path must not make an empty database. Not read-only: the file beside
    // it with the index of the write-ahead log may have to be made.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(file, flags);
    let conn = conn.with_context(|| {
        format!(
            "cannot open {}; check data.folder and the database_url of the service",
            file.display()
        )
    })?;
    conn.busy_timeout(BUSY)?;
    Ok(conn)
}

/// Writes a consistent copy of a file to a new one. Writers of the file continue meanwhile.
pub(super) fn copy(file: &Path, copy: &Path) -> anyhow::Result<()> {
    let conn = open(file)?;
    // VACUUM takes an existing file if it is empty; this one is private.
    let created = files::private_file(copy)?;
    let name = copy
        .to_str()
        .with_context(|| format!("{} is not UTF-8", copy.display()))?;
    conn.execute("VACUUM INTO ?1", [name])
        .with_context(|| format!("cannot copy {} to {}", file.display(), copy.display()))?;
    Ok(created.sync_all()?)
}

/// Returns the schema of a file and the number of its event logs. Both databases understand the queries.
pub(super) fn inspect(file: &Path, service: &str) -> anyhow::Result<(Schema, u64)> {
    let read = || {
        let conn = open(file)?;
        let names = |sql: &str| -> rusqlite::Result<Vec<String>> {
            conn.prepare(sql)?.query_map([], |row| row.get(0))?.collect()
        };
        let migrations = names(super::postgresql::MIGRATIONS)?;
        let required = names(super::postgresql::REQUIRED)?;
        let heads: i64 = conn.query_row(super::postgresql::HEADS, [], |row| row.get(0))?;
        Ok::<_, anyhow::Error>((Schema::new(service, migrations, required), u64::try_from(heads)?))
    };
    read().with_context(|| format!("{} is no database of {service}", file.display()))
}

/// Checks the structure of a file.
pub(super) fn check(file: &Path) -> anyhow::Result<()> {
    let conn = open(file)?;
    let printed: String = conn
        .query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))
        .with_context(|| format!("{} is no SQLite database", file.display()))?;
    anyhow::ensure!(
        printed == "ok",
        "{} is damaged: {printed}; use another backup",
        file.display()
    );
    Ok(())
}
