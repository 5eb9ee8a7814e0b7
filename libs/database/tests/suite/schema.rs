//! The builds that serve with each schema, on both databases. A build is a list of migrations here.
#![expect(clippy::panic, reason = "a test may fail loudly")]

use parta_database::{StorageError, require_migration};
use parta_testkit::{on_both, on_postgres};
use sea_orm::ConnectionTrait as _;
use sea_orm_migration::{prelude::*, schema::*};

use crate::support::Store;

type Migrations = Vec<Box<dyn MigrationTrait>>;

/// Adds a column that replaces another one.
struct Expand;
/// Drops the replaced column, which builds without [`Expand`] use.
struct Contract;
/// Creates a table, and then fails.
struct HalfWay;

impl MigrationName for Expand {
    fn name(&self) -> &str {
        "test_0002_expand"
    }
}

impl MigrationName for Contract {
    fn name(&self) -> &str {
        "test_0003_contract"
    }
}

impl MigrationName for HalfWay {
    fn name(&self) -> &str {
        "test_0002_half_way"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Expand {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let table = Table::alter()
            .table("counter")
            .add_column(big_integer_null("total"))
            .to_owned();
        manager.alter_table(table).await
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Contract {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let table = Table::alter().table("counter").drop_column("n").to_owned();
        manager.alter_table(table).await?;
        require_migration(manager, Expand.name()).await
    }
}

#[async_trait::async_trait]
impl MigrationTrait for HalfWay {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let table = Table::create()
            .table("half")
            .col(string("name").primary_key())
            .to_owned();
        manager.create_table(table).await?;
        Err(DbErr::Custom("killed half-way".into()))
    }
}

fn old() -> Migrations {
    crate::counter::migrations()
}

fn expanded() -> Migrations {
    let mut all = old();
    all.push(Box::new(Expand));
    all
}

fn contracted() -> Migrations {
    let mut all = expanded();
    all.push(Box::new(Contract));
    all
}

fn refusal(result: Result<impl std::fmt::Debug, StorageError>) -> String {
    match result {
        Err(StorageError::Schema(text)) => text,
        other => panic!("{other:?}"),
    }
}

// A rollout: the old build serves beside the new one, and may be started again after a rollback.
on_both!(old_build_serves_with_a_newer_schema, |database| async move {
    let store = Store::open(&database, old()).await;
    assert!(store.db.check_schema(&old()).await.unwrap().newer.is_empty());
    store.db.migrate(expanded()).await.unwrap();
    assert_eq!(
        store.db.check_schema(&old()).await.unwrap().newer,
        ["test_0002_expand"]
    );
    // In one process, the old build migrates at its start: it finds nothing to do.
    store.db.migrate(old()).await.unwrap();
    assert!(store.db.check_schema(&expanded()).await.unwrap().newer.is_empty());
});

on_both!(
    new_build_is_refused_until_the_schema_is_migrated,
    |database| async move {
        let store = Store::open(&database, old()).await;
        let text = refusal(store.db.check_schema(&expanded()).await);
        assert!(
            text.contains("test_0002_expand is not applied") && text.contains("parta migrate test"),
            "{text}"
        );
        store.db.migrate(expanded()).await.unwrap();
        store.db.check_schema(&expanded()).await.unwrap();
    }
);

on_both!(
    build_is_refused_after_what_it_uses_was_taken_away,
    |database| async move {
        let store = Store::open(&database, contracted()).await;
        for result in [
            store.db.check_schema(&old()).await.map(drop),
            store.db.migrate(old()).await,
        ] {
            let text = refusal(result);
            assert!(
                text.contains("test_0002_expand") && text.contains("newer version"),
                "{text}"
            );
        }
        let newer = store.db.check_schema(&expanded()).await.unwrap().newer;
        assert_eq!(
            newer,
            ["test_0003_contract"],
            "a build that knows the replacement serves"
        );
    }
);

// Two replicas of a new build migrate at their start, each as its init container.
on_postgres!(
    two_migrations_at_once_apply_each_once,
    "one process migrates a database of SQLite",
    |database| async move {
        let store = Store::open(&database, old()).await;
        let other = Store::open(&database, old()).await;
        let (one, two) = tokio::join!(store.db.migrate(contracted()), other.db.migrate(contracted()));
        one.unwrap();
        two.unwrap();
        let schema = store.db.check_schema(&contracted()).await.unwrap();
        assert!(schema.newer.is_empty());
    }
);

// Two builds of which neither knows the other's migration cannot share a database.
on_both!(diverged_schemas_are_refused, |database| async move {
    let store = Store::open(&database, expanded()).await;
    let mut other = old();
    other.push(Box::new(HalfWay));
    let text = refusal(store.db.migrate(other).await);
    assert!(
        text.contains("test_0002_half_way is not applied, but test_0002_expand"),
        "{text}"
    );
});

on_both!(failed_migration_leaves_nothing, |database| async move {
    let store = Store::open(&database, old()).await;
    let mut failing = old();
    failing.push(Box::new(HalfWay));
    let error = store.db.migrate(failing).await.unwrap_err();
    assert!(error.to_string().contains("half-way"), "{error}");
    assert!(store.db.check_schema(&old()).await.unwrap().newer.is_empty());
    // The table of the failed migration does not exist, so that the next attempt is not in its way.
    store
        .db
        .writer()
        .execute_unprepared("CREATE TABLE half (name TEXT)")
        .await
        .unwrap();
});

on_postgres!(
    migration_does_not_wait_for_a_locked_table,
    "SQLite locks the whole database, and migrations wait for it like every write",
    |database| async move {
        let store = Store::open(&database, old()).await;
        let reader = store.db.writer().begin().await.unwrap();
        reader.execute_unprepared("SELECT * FROM counter").await.unwrap();
        let error = store.db.migrate(expanded()).await.unwrap_err();
        assert!(matches!(error, StorageError::Conflict(_)), "{error}");
        reader.rollback().await.unwrap();
        store.db.migrate(expanded()).await.unwrap();
    }
);
