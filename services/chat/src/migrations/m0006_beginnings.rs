//! From when a participant of a derived chat reads, by the grounds on which the participant is in it.
use sea_orm_migration::{
    prelude::*,
    schema::{big_integer, timestamp_with_time_zone_null},
};

pub(super) struct Beginnings;

impl MigrationName for Beginnings {
    fn name(&self) -> &str {
        "chat_0006_beginnings"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Beginnings {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        // Those who are in a chat when the schema changes read what they have read before, until a change of
        // the roster gives them another beginning.
        for column in ["staff_since", "family_since"] {
            let table = Table::alter()
                .table("participant")
                .add_column(timestamp_with_time_zone_null(column))
                .to_owned();
            manager.alter_table(table).await?;
        }
        let table = Table::alter()
            .table("participant")
            .add_column(big_integer("returned_after").default(0))
            .to_owned();
        manager.alter_table(table).await
    }
}
