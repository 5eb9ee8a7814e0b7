//! Databases of tests: SQLite files, and databases of the PostgreSQL server that the tests share.
use std::sync::Arc;

use sea_orm::{ConnectionTrait, Database, DbErr};
use uuid::Uuid;

use crate::POSTGRES_URL;

/// An empty database. It is deleted when its last clone is dropped.
#[derive(Clone)]
pub struct TestDatabase {
    inner: Arc<Inner>,
    /// The URL of a proxy, which is used instead of that of the server.
    proxy: Option<Arc<str>>,
}

struct Inner {
    url: String,
    backend: Backend,
}

enum Backend {
    Sqlite {
        folder: tempfile::TempDir,
    },
    /// `server` is the URL of `PARTA_TEST_POSTGRES_URL`, which creates and deletes the database
    /// `name`.
    Postgres {
        server: String,
        name: String,
    },
}

impl TestDatabase {
    /// Creates a SQLite database in a temporary folder.
    pub fn sqlite() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let url = format!("sqlite://{}?mode=rwc", folder.path().join("test.db").display());
        Self::new(url, Backend::Sqlite { folder })
    }

    /// Creates a database on the PostgreSQL server of `PARTA_TEST_POSTGRES_URL`. Panics without a
    /// server.
    pub async fn postgres() -> Self {
        let server = crate::given(POSTGRES_URL, "PostgreSQL");
        #[expect(
            clippy::disallowed_methods,
            reason = "the name of a test database only has to be unique"
        )]
        let name = format!("test_{}", Uuid::new_v4().simple());
        execute(&server, &format!("CREATE DATABASE {name}"))
            .await
            .unwrap_or_else(|error| {
                panic!("{POSTGRES_URL} names no server on which its user can create databases: {error}")
            });
        let (base, parameters) = server
            .split_once('?')
            .map_or((server.as_str(), None), |(base, parameters)| {
                (base, Some(parameters))
            });
        let base = base.rsplit_once('/').map_or(base, |(base, _)| base);
        let url = parameters.map_or_else(|| format!("{base}/{name}"), |p| format!("{base}/{name}?{p}"));
        Self::new(url, Backend::Postgres { server, name })
    }

    fn new(url: String, backend: Backend) -> Self {
        Self {
            inner: Arc::new(Inner { url, backend }),
            proxy: None,
        }
    }

    /// Returns the same database, reached by the URL of a proxy.
    #[must_use]
    pub fn through(&self, url: &str) -> Self {
        Self {
            inner: self.inner.clone(),
            proxy: Some(url.into()),
        }
    }

    /// Creates another empty database of the same kind, for a test that needs one per case.
    pub async fn another(&self) -> Self {
        if self.is_postgres() {
            Self::postgres().await
        } else {
            Self::sqlite()
        }
    }

    /// Returns the URL of this PostgreSQL database for a second role, as that which serves in a
    /// cluster. The role owns nothing and has no grants. It is created at the first call and
    /// deleted with the database. Panics on SQLite.
    pub async fn serving_url(&self) -> String {
        let Backend::Postgres { server, name } = &self.inner.backend else {
            panic!("SQLite has no roles");
        };
        let exists = format!("SELECT FROM pg_roles WHERE rolname = '{name}'");
        let sql = format!(
            "DO $$ BEGIN IF NOT EXISTS ({exists}) THEN CREATE ROLE {name} LOGIN PASSWORD '{name}'; END IF; END $$"
        );
        execute(server, &sql)
            .await
            .unwrap_or_else(|error| panic!("{POSTGRES_URL} names no user who can create roles: {error}"));
        let (scheme, rest) = self.url().split_once("://").expect("a URL");
        let (_, host) = rest.rsplit_once('@').expect("a URL with a user");
        format!("{scheme}://{name}:{name}@{host}")
    }

    /// Returns the URL. On PostgreSQL it is that of the role that owns the database.
    pub fn url(&self) -> &str {
        self.proxy.as_deref().unwrap_or(&self.inner.url)
    }

    /// Whether the database is on PostgreSQL, and not a SQLite file.
    pub fn is_postgres(&self) -> bool {
        matches!(self.inner.backend, Backend::Postgres { .. })
    }

    /// Returns the folder of a SQLite database, in which a test may store other files; `None` on
    /// PostgreSQL.
    pub fn folder(&self) -> Option<&std::path::Path> {
        match &self.inner.backend {
            Backend::Sqlite { folder } => Some(folder.path()),
            Backend::Postgres { .. } => None,
        }
    }
}

/// Creates an empty database of each kind, for a test that compares them.
pub async fn databases() -> [TestDatabase; 2] {
    [TestDatabase::sqlite(), TestDatabase::postgres().await]
}

async fn execute(server: &str, sql: &str) -> Result<(), DbErr> {
    let mut options = sea_orm::ConnectOptions::new(server);
    options.max_connections(1).sqlx_logging(false);
    let db = Database::connect(options).await?;
    db.execute_unprepared(sql).await?;
    db.close().await
}

impl Drop for Inner {
    fn drop(&mut self) {
        let Backend::Postgres { server, name } = &self.backend else {
            return;
        };
        let server = server.clone();
        // The role of `serving_url`, if a test has created it.
        let statements = [
            format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"),
            format!("DROP ROLE IF EXISTS {name}"),
        ];
        // The runtime of the test may be shutting down, so the statements run on a runtime of their
        // own.
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .ok()?;
            for sql in &statements {
                runtime.block_on(execute(&server, sql)).ok()?;
            }
            Some(())
        });
        let _ = thread.join();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    crate::on_both!(each_test_database_is_empty, |first: TestDatabase| async move {
        let second = first.another().await;
        for database in [&first, &second] {
            let db = Database::connect(database.url()).await.expect("a connection");
            db.execute_unprepared("CREATE TABLE pupil (id INTEGER PRIMARY KEY)")
                .await
                .expect("an empty database");
            db.close().await.expect("the connection closes");
        }
    });

    #[test]
    fn test_fails_and_names_the_command_when_postgresql_is_missing() {
        let test = "database::tests::each_test_database_is_empty::postgres";
        let output = std::process::Command::new(std::env::current_exe().expect("this test"))
            .args(["--exact", test, "--nocapture"])
            .env_remove(POSTGRES_URL)
            .output()
            .expect("the test starts");
        let printed = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "{printed}");
        let expected = "PARTA_TEST_POSTGRES_URL is not set. Run the tests by `cargo xtask test`, which starts PostgreSQL";
        assert!(printed.contains(expected), "{printed}");
    }

    #[test]
    fn database_is_deleted_with_its_last_clone() {
        let (url, folder) = crate::run(async {
            let [sqlite, postgres] = databases().await;
            let folder = sqlite.folder().expect("SQLite has a folder").to_owned();
            let clone = postgres.clone();
            drop(postgres);
            execute(clone.url(), "SELECT 1")
                .await
                .expect("the database exists while a clone exists");
            (clone.url().to_owned(), folder)
        });
        assert!(!folder.exists());
        let deleted = crate::run(async { execute(&url, "SELECT 1").await });
        assert!(
            deleted
                .expect_err("the database was deleted")
                .to_string()
                .contains("does not exist")
        );
    }
}
