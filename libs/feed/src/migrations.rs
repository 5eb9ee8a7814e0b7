use sea_orm_migration::{prelude::*, schema::*};

/// Returns the migrations for the tables of this library: `event`, `feed_cursor`, `feed_quarantine`,
/// `feed_quarantine_event`.
pub fn migrations() -> Vec<Box<dyn MigrationTrait>> {
    vec![Box::new(Tables)]
}

struct Tables;

impl MigrationName for Tables {
    fn name(&self) -> &str {
        "feed_0001_tables"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Tables {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let event = Table::create()
            .table("event")
            .col(big_integer("position").primary_key())
            .col(uuid("event_id").unique_key())
            .col(uuid("org_id"))
            .col(timestamp_with_time_zone("occur_time"))
            .col(string("trace_parent"))
            .col(blob("payload"))
            .to_owned();
        manager.create_table(event).await?;
        let by_org = Index::create()
            .name("event_by_org")
            .table("event")
            .col("org_id")
            .col("position")
            .to_owned();
        manager.create_index(by_org).await?;
        let by_time = Index::create()
            .name("event_by_time")
            .table("event")
            .col("occur_time")
            .to_owned();
        manager.create_index(by_time).await?;

        let cursor = Table::create()
            .table("feed_cursor")
            .col(string("consumer").primary_key())
            .col(text("cursor"))
            .col(uuid_null("incarnation"))
            .col(big_integer("position"))
            .col(timestamp_with_time_zone("update_time"))
            .to_owned();
        manager.create_table(cursor).await?;

        let quarantined = Table::create()
            .table("feed_quarantine")
            .col(uuid("org_id"))
            .col(string("consumer"))
            .col(big_integer("position"))
            .col(text("reason"))
            .col(timestamp_with_time_zone("park_time"))
            .primary_key(Index::create().col("org_id").col("consumer"))
            .to_owned();
        manager.create_table(quarantined).await?;

        let queue = Table::create()
            .table("feed_quarantine_event")
            .col(uuid("org_id"))
            .col(string("consumer"))
            .col(big_integer("seq"))
            .col(blob("event"))
            .primary_key(Index::create().col("org_id").col("consumer").col("seq"))
            .foreign_key(
                ForeignKey::create()
                    .from("feed_quarantine_event", ("org_id", "consumer"))
                    .to("feed_quarantine", ("org_id", "consumer"))
                    .on_delete(ForeignKeyAction::Cascade),
            )
            .to_owned();
        manager.create_table(queue).await
    }
}
