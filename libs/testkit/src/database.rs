use std::sync::Arc;

use sea_orm::{ConnectionTrait, Database, DbErr};
use uuid::Uuid;

use crate::POSTGRES_URL;

/// An empty database that goes with its last clone.
#[derive(Clone)]
pub struct TestDatabase(Arc<Inner>);

struct Inner {
    url: String,
    kind: Kind,
}

enum Kind {
    Sqlite { folder: tempfile::TempDir },
    Postgres { server: String, name: String },
}

impl TestDatabase {
    /// A SQLite file in a temporary folder.
    pub fn sqlite() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let url = format!("sqlite://{}?mode=rwc", folder.path().join("test.db").display());
        Self(Arc::new(Inner {
            url,
            kind: Kind::Sqlite { folder },
        }))
    }

    /// A new database on the PostgreSQL server of the environment.
    pub async fn postgres() -> Self {
        let server = crate::given(POSTGRES_URL, "PostgreSQL");
        #[expect(
            clippy::disallowed_methods,
            reason = "a name for a test's database decides nothing"
        )]
        let name = format!("test_{}", Uuid::new_v4().simple());
        execute(&server, &format!("CREATE DATABASE {name}"))
            .await
            .unwrap_or_else(|error| {
                panic!("{POSTGRES_URL} names no server on which its user can create databases: {error}")
            });
        let (base, parameters) = server
            .split_once('?')
            .map_or((server.as_str(), None), |(b, p)| (b, Some(p)));
        let base = base.rsplit_once('/').map_or(base, |(base, _)| base);
        let url = parameters.map_or_else(|| format!("{base}/{name}"), |p| format!("{base}/{name}?{p}"));
        Self(Arc::new(Inner {
            url,
            kind: Kind::Postgres { server, name },
        }))
    }

    /// Another empty database of the same kind, for a test that needs a new one for each case.
    pub async fn another(&self) -> Self {
        if self.is_postgres() {
            Self::postgres().await
        } else {
            Self::sqlite()
        }
    }

    /// Where it is.
    pub fn url(&self) -> &str {
        &self.0.url
    }

    /// Whether it is PostgreSQL.
    pub fn is_postgres(&self) -> bool {
        matches!(self.0.kind, Kind::Postgres { .. })
    }

    /// The folder of a SQLite database, in which other files of the test may lie.
    pub fn folder(&self) -> Option<&std::path::Path> {
        match &self.0.kind {
            Kind::Sqlite { folder } => Some(folder.path()),
            Kind::Postgres { .. } => None,
        }
    }
}

/// An empty database of each kind, for a test that compares them.
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
        let Kind::Postgres { server, name } = &self.kind else {
            return;
        };
        let (server, sql) = (
            server.clone(),
            format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"),
        );
        // A test's runtime is on its way out when the database is dropped; the statement needs one of its
        // own.
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .ok()?;
            runtime.block_on(execute(&server, &sql)).ok()
        });
        let _ = thread.join();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    crate::on_both!(
        a_test_has_an_empty_database_of_its_own,
        |first: TestDatabase| async move {
            let second = first.another().await;
            for database in [&first, &second] {
                let db = Database::connect(database.url())
                    .await
                    .expect("it takes connections");
                db.execute_unprepared("CREATE TABLE pupil (id INTEGER PRIMARY KEY)")
                    .await
                    .expect("it was empty");
                db.close().await.expect("it closes");
            }
        }
    );

    #[test]
    fn test_fails_and_names_the_command_when_postgresql_is_missing() {
        let test = "database::tests::a_test_has_an_empty_database_of_its_own::postgres";
        let output = std::process::Command::new(std::env::current_exe().expect("this test"))
            .args(["--exact", test, "--nocapture"])
            .env_remove(POSTGRES_URL)
            .output()
            .expect("the test starts");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "{said}");
        let expected = "PARTA_TEST_POSTGRES_URL is not set. Run the tests by `cargo xtask test`, which starts PostgreSQL";
        assert!(said.contains(expected), "{said}");
    }

    #[test]
    fn a_database_goes_with_its_last_clone() {
        let (url, folder) = crate::run(async {
            let [sqlite, postgres] = databases().await;
            let folder = sqlite.folder().expect("SQLite has a folder").to_owned();
            let clone = postgres.clone();
            drop(postgres);
            execute(clone.url(), "SELECT 1").await.expect("a clone keeps it");
            (clone.url().to_owned(), folder)
        });
        assert!(!folder.exists());
        let gone = crate::run(async { execute(&url, "SELECT 1").await });
        assert!(
            gone.expect_err("it is gone")
                .to_string()
                .contains("does not exist")
        );
    }
}
