use sea_orm_migration::{prelude::*, schema::*};

/// Returns the migrations for the table of this library: `event_head`.
pub fn migrations() -> Vec<Box<dyn MigrationTrait>> {
    vec![Box::new(EventHead)]
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
