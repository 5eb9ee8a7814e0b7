//! The role that serves and the role that owns the schema, on PostgreSQL.
use crate::{Settings, compose, migrate, start_standalone};
use parta_ids::Env;
use parta_testkit::{TestDatabase, on_postgres};
use sea_orm_migration::sea_orm::{ConnectionTrait as _, Database, DatabaseConnection};
use tempfile::TempDir;

use super::two_services::{CHAT, MEMBERSHIP, settings};

/// Settings of chat as a service of a cluster, with these addresses of its database.
async fn cluster(folder: &TempDir, url: &str, migrate_url: Option<&str>) -> Settings {
    // Creates the keys, which a service of a cluster finds.
    compose(&[MEMBERSHIP, CHAT], &settings(folder.path(), &[]))
        .await
        .unwrap()
        .stop()
        .await;
    let mut keys = vec![
        format!("chat.database_url={url}"),
        "chat.listen=127.0.0.1:0".to_owned(),
        "membership.address=http://127.0.0.1:9".to_owned(),
    ];
    keys.extend(migrate_url.map(|url| format!("chat.database_migrate_url={url}")));
    settings(folder.path(), &keys)
}

async fn refusal(settings: &Settings) -> String {
    let error = start_standalone(CHAT, settings, Env::system())
        .await
        .err()
        .unwrap();
    format!("{error:#}")
}

async fn execute(connection: &DatabaseConnection, sql: &str) -> Result<(), String> {
    let done = connection.execute_unprepared(sql).await;
    done.map(drop).map_err(|error| error.to_string())
}

on_postgres!(
    serving_role_serves_and_cannot_change_the_schema,
    "SQLite has no roles",
    |database: TestDatabase| async move {
        let (folder, url) = (tempfile::tempdir().unwrap(), database.serving_url().await);
        let settings = cluster(&folder, &url, Some(database.url())).await;
        migrate(CHAT, &settings, Env::system()).await.unwrap();
        // A second migration finds nothing to apply and nothing to grant.
        migrate(CHAT, &settings, Env::system()).await.unwrap();
        start_standalone(CHAT, &settings, Env::system())
            .await
            .unwrap()
            .stop()
            .await;

        let serving = Database::connect(&url).await.unwrap();
        execute(&serving, "UPDATE event_head SET position = position + 1")
            .await
            .unwrap();
        for (sql, refused) in [
            ("DROP TABLE event_head", "must be owner of table event_head"),
            (
                "ALTER TABLE event_head ADD COLUMN extra int",
                "must be owner of table event_head",
            ),
            ("TRUNCATE event_head", "permission denied for table event_head"),
            (
                "CREATE TABLE extra (id int)",
                "permission denied for schema public",
            ),
            (
                "DELETE FROM seaql_migrations",
                "permission denied for table seaql_migrations",
            ),
            (
                "DELETE FROM schema_requirement",
                "permission denied for table schema_requirement",
            ),
        ] {
            let error = execute(&serving, sql).await.unwrap_err();
            assert!(error.contains(refused), "{sql}: {error}");
        }
        serving.close().await.unwrap();
    }
);

on_postgres!(
    missing_grant_is_named_at_the_start,
    "SQLite has no roles",
    |database: TestDatabase| async move {
        let (folder, url) = (tempfile::tempdir().unwrap(), database.serving_url().await);
        // The owner migrated without naming the role that serves.
        let alone = cluster(&folder, database.url(), None).await;
        migrate(CHAT, &alone, Env::system()).await.unwrap();
        let settings = cluster(&folder, &url, Some(database.url())).await;
        let error = refusal(&settings).await;
        assert!(
            error.contains("the role of database_url may not read and write event_epoch")
                && error.contains("run `parta migrate chat` with database_migrate_url"),
            "{error}"
        );
        // A table that was created by hand, beside granted ones.
        migrate(CHAT, &settings, Env::system()).await.unwrap();
        let owner = Database::connect(database.url()).await.unwrap();
        execute(&owner, "CREATE TABLE by_hand (id int)").await.unwrap();
        owner.close().await.unwrap();
        let error = refusal(&settings).await;
        assert!(error.contains("by_hand (1 of the tables"), "{error}");
        migrate(CHAT, &settings, Env::system()).await.unwrap();
        start_standalone(CHAT, &settings, Env::system())
            .await
            .unwrap()
            .stop()
            .await;
    }
);

on_postgres!(
    migration_names_the_role_that_does_not_exist,
    "SQLite has no roles",
    |database: TestDatabase| async move {
        let folder = tempfile::tempdir().unwrap();
        let url = database.serving_url().await.replace("://test_", "://absent_");
        let settings = cluster(&folder, &url, Some(database.url())).await;
        let error = migrate(CHAT, &settings, Env::system()).await.unwrap_err();
        let error = parta_status::error_chain(&*error);
        assert!(error.contains("absent_"), "{error}");
        assert_eq!(error.matches("does not exist").count(), 1, "{error}");
    }
);

on_postgres!(
    two_databases_of_one_service_are_refused,
    "SQLite has no roles",
    |database: TestDatabase| async move {
        let (folder, other) = (tempfile::tempdir().unwrap(), database.another().await);
        let settings = cluster(&folder, &database.serving_url().await, Some(other.url())).await;
        let error = migrate(CHAT, &settings, Env::system()).await.unwrap_err();
        assert!(
            error.to_string().contains("chat.database_url is the database"),
            "{error:#}"
        );
    }
);

on_postgres!(
    one_process_migrates_as_the_owner_and_serves_without,
    "SQLite has no roles",
    |database: TestDatabase| async move {
        let (folder, url) = (tempfile::tempdir().unwrap(), database.serving_url().await);
        let keys = [
            format!("chat.database_url={url}"),
            format!("chat.database_migrate_url={}", database.url()),
        ];
        let settings = settings(folder.path(), &keys);
        compose(&[MEMBERSHIP, CHAT], &settings)
            .await
            .unwrap()
            .stop()
            .await;
        let serving = Database::connect(&url).await.unwrap();
        let error = execute(&serving, "DROP TABLE event_head").await.unwrap_err();
        assert!(error.contains("must be owner"), "{error}");
        serving.close().await.unwrap();
    }
);
