use sea_orm_migration::{prelude::*, schema::*};

/// Returns the migrations for the tables of this library: `event`, `feed_pulse`, `feed_cursor`,
/// `feed_quarantine`.
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
        // `previous_id` is the id of the event before; nil for the first. A cursor names the last event that
        // its reader has applied, so it can be checked when that event is purged, too.
        let event = Table::create()
            .table("event")
            .col(uuid("org_id"))
            .col(big_integer("position"))
            .col(uuid("event_id"))
            .col(uuid("previous_id"))
            .col(timestamp_with_time_zone("occur_time"))
            .col(string("trace_parent"))
            .col(blob("payload"))
            .primary_key(Index::create().col("org_id").col("position"))
            .to_owned();
        manager.create_table(event).await?;
        let by_time = Index::create()
            .name("event_by_time")
            .table("event")
            .col("occur_time")
            .to_owned();
        manager.create_index(by_time).await?;

        let pulse = Table::create()
            .table("feed_pulse")
            .col(uuid("replica_id").primary_key())
            .col(timestamp_with_time_zone("pulse_time"))
            .to_owned();
        manager.create_table(pulse).await?;

        let cursor = Table::create()
            .table("feed_cursor")
            .col(uuid("org_id"))
            .col(string("consumer"))
            .col(text("cursor"))
            .col(uuid_null("epoch"))
            .col(big_integer("position"))
            .col(uuid("event_id"))
            .col(timestamp_with_time_zone("update_time"))
            .primary_key(Index::create().col("org_id").col("consumer"))
            .to_owned();
        manager.create_table(cursor).await?;

        let quarantine = Table::create()
            .table("feed_quarantine")
            .col(uuid("org_id"))
            .col(string("consumer"))
            .col(big_integer("position"))
            .col(text("reason"))
            .col(timestamp_with_time_zone("quarantine_time"))
            .primary_key(Index::create().col("org_id").col("consumer"))
            .to_owned();
        manager.create_table(quarantine).await
    }
}
