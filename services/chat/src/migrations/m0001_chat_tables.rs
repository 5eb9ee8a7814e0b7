//! The first tables of the service.
use sea_orm_migration::{prelude::*, schema::*, sea_orm::DbBackend};

const ENTRY_PARTITIONS: u32 = 8;

/// The names of the types of ids, bytes and times, which differ between the databases.
fn types(postgres: bool) -> [&'static str; 3] {
    if postgres {
        ["uuid", "bytea", "timestamptz"]
    } else {
        ["blob", "blob", "timestamp_with_timezone_text"]
    }
}

pub(super) struct Tables;

impl MigrationName for Tables {
    fn name(&self) -> &str {
        "chat_0001_tables"
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
            .col(boolean("unsupervised").default(false))
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
        manager
            .get_connection()
            .execute_unprepared("CREATE INDEX chat_unsupervised ON chat (org_id, chat_id) WHERE unsupervised")
            .await?;

        let participant = Table::create()
            .table("participant")
            .col(uuid("org_id"))
            .col(uuid("chat_id"))
            .col(uuid("member_id"))
            .col(big_integer("joined_seq"))
            .col(big_integer_null("left_seq"))
            .col(big_integer("read_seq"))
            .col(boolean("may_post"))
            .col(small_integer("kind"))
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
