use sea_orm_migration::{prelude::*, schema::*};

/// Returns the migrations for the tables of this library: `event_epoch`, `event_head`,
/// `schema_requirement`.
pub fn migrations() -> Vec<Box<dyn MigrationTrait>> {
    vec![Box::new(EventHead), Box::new(SchemaRequirement)]
}

struct EventHead;

impl MigrationName for EventHead {
    fn name(&self) -> &str {
        "database_0001_event_head"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for EventHead {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let epoch = Table::create()
            .table("event_epoch")
            .col(small_integer("epoch_id").primary_key())
            .col(uuid("epoch"))
            .to_owned();
        manager.create_table(epoch).await?;
        // `previous_id` is the event before those of the last transaction, from which they take it.
        let head = Table::create()
            .table("event_head")
            .col(uuid("org_id").primary_key())
            .col(big_integer("position"))
            .col(uuid("event_id"))
            .col(uuid("previous_id"))
            .to_owned();
        manager.create_table(head).await
    }
}

struct SchemaRequirement;

impl MigrationName for SchemaRequirement {
    fn name(&self) -> &str {
        "database_0002_schema_requirement"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for SchemaRequirement {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let requirement = Table::create()
            .table("schema_requirement")
            .col(string("migration").primary_key())
            .to_owned();
        manager.create_table(requirement).await
    }
}
