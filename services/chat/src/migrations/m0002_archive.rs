//! The archive of old entries.
use sea_orm_migration::{prelude::*, sea_orm::DbBackend};

const ENTRY_PARTITIONS: u32 = 8;

/// The names of the types of ids, bytes and times, which differ between the databases.
fn types(postgres: bool) -> [&'static str; 3] {
    if postgres {
        ["uuid", "bytea", "timestamptz"]
    } else {
        ["blob", "blob", "timestamp_with_timezone_text"]
    }
}

pub(super) struct Archive;

impl MigrationName for Archive {
    fn name(&self) -> &str {
        "chat_0002_archive"
    }
}

/// Settings of a table whose rows are inserted, read by key and finally deleted, and never updated: full
/// pages, and a vacuum after a fixed share of new rows, so that the visibility map and the statistics are up
/// to date.
const INSERT_ONLY: &str = "fillfactor = 100, autovacuum_vacuum_insert_scale_factor = 0.05, \
    autovacuum_vacuum_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.05";

#[async_trait::async_trait]
impl MigrationTrait for Archive {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let db = manager.get_connection();
        let postgres = manager.get_database_backend() == DbBackend::Postgres;
        let [uuid, bytes, time] = types(postgres);
        let end = if postgres { "" } else { "WITHOUT ROWID" };
        // Entries up to this sequence number are in the archive.
        db.execute_unprepared("ALTER TABLE chat ADD COLUMN archived_seq bigint NOT NULL DEFAULT 0")
            .await?;
        // Repetitions are found only in `entry`, so the archive has no unique constraint on the request.
        db.execute_unprepared(&format!(
            "CREATE TABLE entry_archive (
               org_id {uuid} NOT NULL, chat_id {uuid} NOT NULL, seq bigint NOT NULL, entry_id {uuid} NOT NULL,
               kind smallint NOT NULL, sender {uuid}, request_id {uuid}, digest {bytes}, body text, subject {uuid},
               service text, create_time {time} NOT NULL,
               PRIMARY KEY (org_id, chat_id, seq)
             ) {end}"
        ))
        .await?;
        // One row: the last chat checked by the archiving. Its lock allows one replica at a time.
        db.execute_unprepared(&format!(
            "CREATE TABLE archive_position (
               position_id smallint NOT NULL PRIMARY KEY, org_id {uuid} NOT NULL, chat_id {uuid} NOT NULL
             )"
        ))
        .await?;
        let nil = if postgres {
            "'00000000-0000-0000-0000-000000000000'"
        } else {
            "zeroblob(16)"
        };
        db.execute_unprepared(&format!("INSERT INTO archive_position VALUES (1, {nil}, {nil})"))
            .await?;
        if postgres {
            for n in 0..ENTRY_PARTITIONS {
                db.execute_unprepared(&format!("ALTER TABLE entry_{n} SET ({INSERT_ONLY})"))
                    .await?;
            }
            // Every message updates `head_seq` of its chat, and every reader its own `read_seq`. Neither
            // column is in an index, so with free space in the page the new version stays in it and no index
            // is updated.
            db.execute_unprepared(&format!(
                "ALTER TABLE entry_archive SET ({INSERT_ONLY});
                 ALTER TABLE chat SET (fillfactor = 50);
                 ALTER TABLE participant SET (fillfactor = 80)"
            ))
            .await?;
        }
        Ok(())
    }
}
