//! The members who were admitted to a room of the media server, until the room closes.
use sea_orm_migration::{prelude::*, schema::*};

pub(super) struct Table;

impl MigrationName for Table {
    fn name(&self) -> &str {
        "call_scheduling_0002_room_entrant"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Table {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let entrant = sea_orm_migration::prelude::Table::create()
            .table("room_entrant")
            .col(uuid("org_id"))
            .col(uuid("call_id"))
            .col(timestamp_with_time_zone("start_time"))
            .col(uuid("member_id"))
            .col(boolean("host"))
            .col(timestamp_with_time_zone("close_time"))
            .col(timestamp_with_time_zone_null("remove_time"))
            .primary_key(
                Index::create()
                    .col("org_id")
                    .col("call_id")
                    .col("start_time")
                    .col("member_id"),
            )
            .foreign_key(
                ForeignKey::create()
                    .name("room_entrant_call")
                    .from("room_entrant", ("org_id", "call_id"))
                    .to("call", ("org_id", "id")),
            )
            .to_owned();
        manager.create_table(entrant).await?;
        let conn = manager.get_connection();
        for sql in [
            "CREATE INDEX room_entrant_open ON room_entrant (org_id, close_time)",
            "CREATE INDEX room_entrant_closed ON room_entrant (close_time)",
        ] {
            conn.execute_unprepared(sql).await?;
        }
        Ok(())
    }
}
