//! The tables and the functions of the database.
use sea_orm_migration::{prelude::*, schema::*, sea_orm::DbBackend};

#[cfg(feature = "upgrade-test")]
mod upgrade_test;

/// The service's own migrations.
pub(crate) fn migrations() -> Vec<Box<dyn MigrationTrait>> {
    vec![
        Box::new(Tables),
        Box::new(Archive),
        Box::new(MessageFunctions),
        Box::new(TryFunctions),
        #[cfg(feature = "upgrade-test")]
        Box::new(upgrade_test::UpgradeTest),
    ]
}

struct Tables;

impl MigrationName for Tables {
    fn name(&self) -> &str {
        "chat_0001_tables"
    }
}

const ENTRY_PARTITIONS: u32 = 8;

/// The names of the types of ids, bytes and times, which differ between the databases.
fn types(postgres: bool) -> [&'static str; 3] {
    if postgres {
        ["uuid", "bytea", "timestamptz"]
    } else {
        ["blob", "blob", "timestamp_with_timezone_text"]
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Tables {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let chat = Table::create()
            .table("chat")
            .col(uuid("org_id"))
            .col(uuid("chat_id"))
            .col(small_integer("kind"))
            .col(uuid_null("unit_id"))
            .col(text_null("unique_key"))
            .col(text("label"))
            .col(timestamp_with_time_zone("create_time"))
            .col(timestamp_with_time_zone_null("archive_time"))
            .col(big_integer("head_seq"))
            .col(big_integer("audience_version"))
            .primary_key(Index::create().col("org_id").col("chat_id"))
            .to_owned();
        manager.create_table(chat).await?;
        let unique = Index::create()
            .name("chat_unique_key")
            .table("chat")
            .col("org_id")
            .col("unique_key")
            .unique()
            .to_owned();
        manager.create_index(unique).await?;
        let unit = Index::create()
            .name("chat_unit")
            .table("chat")
            .col("org_id")
            .col("unit_id")
            .to_owned();
        manager.create_index(unit).await?;

        let participant = Table::create()
            .table("participant")
            .col(uuid("org_id"))
            .col(uuid("chat_id"))
            .col(uuid("member_id"))
            .col(big_integer("joined_seq"))
            .col(big_integer_null("left_seq"))
            .col(big_integer("read_seq"))
            .col(boolean("may_post"))
            .primary_key(Index::create().col("org_id").col("chat_id").col("member_id"))
            .foreign_key(
                ForeignKey::create()
                    .name("participant_chat")
                    .from("participant", ("org_id", "chat_id"))
                    .to("chat", ("org_id", "chat_id")),
            )
            .to_owned();
        manager.create_table(participant).await?;
        // The chats of a member, newest first, are read in the order of this index.
        let list = Index::create()
            .name("participant_member")
            .table("participant")
            .col("org_id")
            .col("member_id")
            .col("chat_id")
            .to_owned();
        manager.create_index(list).await?;
        self.entries(manager).await
    }
}

impl Tables {
    /// The log. It has no foreign key: an entry is written only with the row of its chat locked, and the
    /// check would add its cost to every message. Partitioned by chat on PostgreSQL, clustered by its key on
    /// SQLite.
    async fn entries(&self, manager: &SchemaManager<'_>) -> Result<(), DbErr> {
        let db = manager.get_connection();
        let postgres = manager.get_database_backend() == DbBackend::Postgres;
        let [uuid, bytes, time] = types(postgres);
        let end = if postgres {
            "PARTITION BY HASH (chat_id)"
        } else {
            "WITHOUT ROWID"
        };
        db.execute_unprepared(&format!(
            "CREATE TABLE entry (
               org_id {uuid} NOT NULL, chat_id {uuid} NOT NULL, seq bigint NOT NULL, entry_id {uuid} NOT NULL,
               kind smallint NOT NULL, sender {uuid}, request_id {uuid}, digest {bytes}, body text, subject {uuid},
               service text, create_time {time} NOT NULL,
               PRIMARY KEY (org_id, chat_id, seq),
               CONSTRAINT entry_once UNIQUE (org_id, chat_id, sender, request_id)
             ) {end}"
        ))
        .await?;
        if postgres {
            for n in 0..ENTRY_PARTITIONS {
                db.execute_unprepared(&format!(
                    "CREATE TABLE entry_{n} PARTITION OF entry FOR VALUES WITH (MODULUS {ENTRY_PARTITIONS}, REMAINDER {n})"
                ))
                .await?;
            }
        }
        Ok(())
    }
}

struct Archive;

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
            // Every message updates `head_seq` of its chat, and every reader the own `read_seq`. Neither
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

/// Creates the functions that store messages.
struct MessageFunctions;

impl MigrationName for MessageFunctions {
    fn name(&self) -> &str {
        "chat_0003_post"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for MessageFunctions {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        if manager.get_database_backend() == DbBackend::Postgres {
            let db = manager.get_connection();
            db.execute_unprepared(include_str!("post.sql")).await?;
        }
        Ok(())
    }
}

/// Creates the functions that store messages without waiting for the row of a chat.
struct TryFunctions;

impl MigrationName for TryFunctions {
    fn name(&self) -> &str {
        "chat_0004_try_post"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for TryFunctions {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        if manager.get_database_backend() == DbBackend::Postgres {
            let db = manager.get_connection();
            db.execute_unprepared(include_str!("try_post.sql")).await?;
        }
        Ok(())
    }
}
