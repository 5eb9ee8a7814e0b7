//! A PostgreSQL host that vanishes during a migration, and migrations that take long.
#![expect(clippy::unwrap_used, reason = "a test may fail loudly")]

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use parta_database::{DatabaseConfig, Db, StorageError};
use parta_testkit::{Link, TestDatabase, on_postgres};
use sea_orm::{ConnectionTrait as _, DbErr};
use sea_orm_migration::{MigrationName, MigrationTrait, SchemaManager};

use crate::{
    counter::migrations,
    support::{Store, secrets},
};

const REPLY: Duration = Duration::from_millis(400);
/// Three looks take 2.4 seconds at most. The machine of the tests may be loaded.
const GIVEN_UP_AFTER: Duration = Duration::from_secs(10);
/// Longer than three looks take, and than a statement may take outside of migrations.
const LONG: &str = "SELECT pg_sleep(4)";

/// The server vanishes before the statement of the migration, or after it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Lost {
    Before,
    After,
}

/// A migration during which the host vanishes. New connections are possible, or not.
struct Losing {
    link: Arc<Link>,
    at: Lost,
    is_reachable: bool,
}

impl MigrationName for Losing {
    fn name(&self) -> &str {
        "test_0002_losing"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Losing {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let create = manager
            .get_connection()
            .execute_unprepared("CREATE TABLE lost (name TEXT)");
        if self.at == Lost::After {
            create.await?;
            self.lose();
        } else {
            self.lose();
            create.await?;
        }
        Ok(())
    }
}

impl Losing {
    fn lose(&self) {
        self.link.silence();
        if self.is_reachable {
            self.link.reconnect();
        }
    }
}

struct Slow;

impl MigrationName for Slow {
    fn name(&self) -> &str {
        "test_0002_slow"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Slow {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.get_connection().execute_unprepared(LONG).await.map(drop)
    }
}

async fn connect(database: &TestDatabase, link: &Link, store: &Store) -> Db {
    let config = DatabaseConfig {
        statement_timeout: REPLY,
        reply_timeout: REPLY,
        ..DatabaseConfig::new(link.through(database.url()))
    };
    Db::connect(&config, "test", secrets(), store.db.env().clone())
        .await
        .unwrap()
}

fn with(last: impl MigrationTrait + 'static) -> Vec<Box<dyn MigrationTrait>> {
    let mut all = migrations();
    all.push(Box::new(last));
    all
}

on_postgres!(
    migration_is_given_up_when_its_host_vanishes,
    "SQLite is a file of the process",
    |database| async move {
        // The pool of the driver looks at the connection when it was given up.
        parta_testkit::logs().allow("testing the connection on-release");
        let store = Store::open(&database, migrations()).await;
        for (at, is_reachable) in [
            (Lost::Before, true),
            (Lost::Before, false),
            (Lost::After, true),
            (Lost::After, false),
        ] {
            let link = Arc::new(Link::to(database.url()).await);
            let db = connect(&database, &link, &store).await;
            let losing = Losing {
                link: link.clone(),
                at,
                is_reachable,
            };
            let begin = Instant::now();
            let failed = db.migrate(with(losing)).await.unwrap_err();
            assert!(matches!(failed, StorageError::Unavailable(_)), "{failed}");
            assert!(begin.elapsed() < GIVEN_UP_AFTER, "{:?}", begin.elapsed());
            // The server ends the session when its connection breaks, and nothing was applied.
            link.disconnect().await;
            db.close().await;
            store.db.migrate(migrations()).await.unwrap();
            assert!(
                store
                    .db
                    .check_schema(&migrations())
                    .await
                    .unwrap()
                    .newer
                    .is_empty()
            );
        }
    }
);

// One replica migrates, and the other one waits for it.
on_postgres!(
    long_migration_is_not_given_up,
    "SQLite is a file of the process",
    |database| async move {
        // The link may end before the pool of the driver has looked at the connection that it got back.
        parta_testkit::logs().allow("testing the connection on-release");
        let store = Store::open(&database, migrations()).await;
        let link = Link::to(database.url()).await;
        let (one, other) = (
            connect(&database, &link, &store).await,
            connect(&database, &link, &store).await,
        );
        let (first, second) = tokio::join!(one.migrate(with(Slow)), other.migrate(with(Slow)));
        first.unwrap();
        second.unwrap();
        store.db.check_schema(&with(Slow)).await.unwrap();
    }
);
