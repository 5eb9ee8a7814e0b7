//! The tables of this library in the database of each service.
use sea_orm_migration::{prelude::*, schema::*};

/// Returns the migrations. The tables of a source are `event` and `feed_pulse`; those of a consumer
/// are `feed_cursor` and `feed_quarantine`.
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
        // `previous_id` is the id of the event at the position before, or the nil UUID for the
        // first event. A cursor names the last event that was applied. If that event was purged,
        // the cursor is checked against `previous_id` of the next one.
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

        // A row for each replica, which it updates every few seconds on PostgreSQL, to prove that
        // the database accepts commits.
        let pulse = Table::create()
            .table("feed_pulse")
            .col(uuid("replica_id").primary_key())
            .col(timestamp_with_time_zone("pulse_time"))
            .to_owned();
        manager.create_table(pulse).await?;

        // The position up to which each consumer has applied the log of each organization.
        let cursor = Table::create()
            .table("feed_cursor")
            .col(uuid("org_id"))
            .col(string("consumer"))
            .col(text("cursor"))
            .col(uuid_null("epoch"))
            .col(big_integer("position"))
            .col(uuid("event_id"))
            .col(timestamp_with_time_zone("update_time"))
            // The request of the operator, encoded by `consumer::quarantine::Request`, and the
            // event to skip.
            .col(small_integer("request").default(0))
            .col(uuid_null("request_event_id"))
            // The build that read events of a kind that it does not know; empty if there were none.
            // Another build takes a snapshot.
            .col(string("unknown_build").default(""))
            .primary_key(Index::create().col("org_id").col("consumer"))
            .to_owned();
        manager.create_table(cursor).await?;

        // The organizations that a consumer has quarantined, and why.
        let quarantine = Table::create()
            .table("feed_quarantine")
            .col(uuid("org_id"))
            .col(string("consumer"))
            .col(big_integer("position"))
            .col(uuid_null("event_id"))
            .col(string("event_kind"))
            .col(text("event_failure"))
            .col(text("snapshot_failure"))
            // The builds that have failed, separated by spaces. A build that is not among them
            // tries once.
            .col(text("builds"))
            .col(timestamp_with_time_zone("quarantine_time"))
            .primary_key(Index::create().col("org_id").col("consumer"))
            .to_owned();
        manager.create_table(quarantine).await
    }
}
