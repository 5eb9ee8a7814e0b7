use sea_orm_migration::{prelude::*, schema::*};

/// Returns the migrations for the tables of this library: `event_head`, `schema_requirement`.
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
        let head = Table::create()
            .table("event_head")
            .col(small_integer("head_id").primary_key())
            .col(uuid("incarnation"))
            .col(big_integer("position"))
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
