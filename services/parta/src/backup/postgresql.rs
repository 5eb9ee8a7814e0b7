//! Dumps of PostgreSQL databases by its own programs.
use std::{
    io::{self, Read},
    process::{Child, Command, Stdio},
    thread,
};

use anyhow::{Context as _, anyhow, ensure};
use parta_database::Db;
use sea_orm::{ConnectionTrait as _, Statement};

use super::manifest::Schema;

pub(super) const MIGRATIONS: &str = "SELECT version FROM seaql_migrations ORDER BY version";
pub(super) const REQUIRED: &str = "SELECT migration FROM schema_requirement ORDER BY migration";
pub(super) const HEADS: &str = "SELECT COUNT(*) FROM event_head";

/// Returns the schema of a database and the number of its event logs.
pub(super) async fn inspect(db: &Db) -> anyhow::Result<(Schema, u64)> {
    let of = |sql: &str| Statement::from_string(db.backend(), sql);
    let read = async {
        let mut names = [Vec::new(), Vec::new()];
        for (names, sql) in names.iter_mut().zip([MIGRATIONS, REQUIRED]) {
            for row in db.conn().query_all_raw(of(sql)).await? {
                names.push(row.try_get_by_index::<String>(0)?);
            }
        }
        let heads = db.conn().query_one_raw(of(HEADS)).await?;
        let heads: i64 = heads.context("no row")?.try_get_by_index(0)?;
        let [migrations, required] = names;
        Ok::<_, anyhow::Error>((
            Schema::new(db.service(), migrations, required),
            u64::try_from(heads)?,
        ))
    };
    let context = || format!("cannot read the schema of the database of {}", db.service());
    read.await.with_context(context)
}

/// Returns the names of the tables of the schema in which the connection works.
pub(super) async fn tables(db: &Db) -> anyhow::Result<Vec<String>> {
    let sql = "SELECT tablename::text FROM pg_tables WHERE schemaname = current_schema()";
    let rows = db
        .conn()
        .query_all_raw(Statement::from_string(db.backend(), sql))
        .await;
    let rows = rows.with_context(|| format!("cannot read the tables of {}", db.service()))?;
    Ok(rows
        .iter()
        .map(|row| row.try_get_by_index(0))
        .collect::<Result<_, _>>()?)
}

pub(super) async fn drop_tables(db: &Db, tables: &[String]) -> anyhow::Result<()> {
    let quoted = tables
        .iter()
        .map(|name| format!("\"{}\"", name.replace('"', "\"\"")));
    let sql = format!("DROP TABLE {} CASCADE", quoted.collect::<Vec<_>>().join(", "));
    let dropped = db.writer().execute_unprepared(&sql).await;
    dropped.with_context(|| format!("cannot delete the tables of {}", db.service()))?;
    Ok(())
}

/// Returns the address without its password, and the password. Others can see the arguments of a process.
fn split_password(url: &str) -> anyhow::Result<(String, Option<String>)> {
    let unreadable = || anyhow!("a database_url is not postgres://user:password@host/database");
    let (scheme, rest) = url.split_once("://").ok_or_else(unreadable)?;
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, tail) = rest.split_at(end);
    ensure!(
        !tail.contains("?password=") && !tail.contains("&password="),
        "a database_url has the password among its parameters; write postgres://user:password@host/database"
    );
    let Some((user, host)) = authority.rsplit_once('@') else {
        return Ok((url.to_owned(), None));
    };
    match user.split_once(':') {
        None => Ok((url.to_owned(), None)),
        Some((user, password)) => Ok((
            format!("{scheme}://{user}@{host}{tail}"),
            Some(percent_decoded(password).ok_or_else(unreadable)?),
        )),
    }
}

fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        if *first == b'%' {
            let code = std::str::from_utf8(tail.get(..2)?).ok()?;
            bytes.push(u8::from_str_radix(code, 16).ok()?);
            rest = &tail[2..];
        } else {
            bytes.push(*first);
            rest = tail;
        }
    }
    String::from_utf8(bytes).ok()
}

fn start(program: &str, options: &[&str], url: &str, service: &str) -> anyhow::Result<Child> {
    let (url, password) = split_password(url).with_context(|| format!("database of {service}"))?;
    let mut command = Command::new(program);
    command
        .args(options)
        .args(["--dbname", &url])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    if let Some(password) = password {
        command.env("PGPASSWORD", password);
    }
    command.spawn().map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => anyhow!(
            "{program} was not found, which the database of {service} needs; install the client programs of \
             PostgreSQL, of the version of the server or a later one, and put them on the PATH"
        ),
        _ => anyhow!("cannot start {program}: {error}"),
    })
}

/// Waits for a program whose standard error a thread reads.
fn end(
    mut child: Child,
    printed: thread::JoinHandle<String>,
    program: &str,
    service: &str,
) -> anyhow::Result<()> {
    let status = child.wait()?;
    let printed = printed.join().unwrap_or_default();
    ensure!(
        status.success(),
        "{program} failed for the database of {service}: {}",
        printed.trim()
    );
    Ok(())
}

fn listen(from: Option<impl Read + Send + 'static>) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let mut text = Vec::new();
        if let Some(mut from) = from {
            // A program that ends early has said why in what was read.
            let _read = from.read_to_end(&mut text);
        }
        String::from_utf8_lossy(&text).into_owned()
    })
}

/// Dumps a database and passes the dump to `store` while it is made.
pub(super) fn dump<T>(
    url: &str,
    service: &str,
    store: impl FnOnce(&mut dyn Read) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let options = ["--format=custom", "--no-owner", "--no-privileges"];
    let mut child = start("pg_dump", &options, url, service)?;
    drop(child.stdin.take());
    let printed = listen(child.stderr.take());
    let mut output = child.stdout.take().context("pg_dump has no output")?;
    let stored = store(&mut output);
    drop(output);
    end(child, printed, "pg_dump", service)?;
    stored
}

/// Restores a dump into an empty database, in one transaction.
pub(super) fn restore(url: &str, service: &str, dump: &mut dyn Read) -> anyhow::Result<()> {
    let options = [
        "--no-owner",
        "--no-privileges",
        "--clean",
        "--if-exists",
        "--single-transaction",
        "--exit-on-error",
    ];
    let mut child = start("pg_restore", &options, url, service)?;
    let (printed, unread) = (listen(child.stderr.take()), listen(child.stdout.take()));
    let mut input = child.stdin.take().context("pg_restore has no input")?;
    let copied = io::copy(dump, &mut input);
    drop(input);
    let ended = end(child, printed, "pg_restore", service);
    let _none = unread.join();
    // A program that failed reads no further, so that its own words come first.
    ended?;
    copied.with_context(|| format!("cannot pass the dump of {service} to pg_restore"))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn password_is_no_argument() {
        let split = |url| split_password(url).unwrap();
        assert_eq!(
            split("postgres://me:a%40b%2F@host:5/db?sslmode=require"),
            (
                "postgres://me@host:5/db?sslmode=require".to_owned(),
                Some("a@b/".to_owned())
            )
        );
        assert_eq!(
            split("postgres://me@host/db"),
            ("postgres://me@host/db".to_owned(), None)
        );
        for wrong in [
            "postgres://me@host/db?password=x",
            "host",
            "postgres://me:%4@host/db",
        ] {
            let error = split_password(wrong).unwrap_err().to_string();
            assert!(error.contains("postgres://user:password@host"), "{error}");
        }
    }
}
