//! The rooms of the media server, and the people who were admitted to them, until the rooms close.
use sea_orm_migration::{prelude::*, schema::*};

pub(super) struct Tables;

impl MigrationName for Tables {
    fn name(&self) -> &str {
        "call_scheduling_0002_rooms"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Tables {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let room = Table::create()
            .table("room")
            .col(uuid("org_id"))
            .col(uuid("call_id"))
            .col(timestamp_with_time_zone("start_time"))
            .col(timestamp_with_time_zone("close_time"))
            // The first token for staff of whom nobody has been seen since.
            .col(timestamp_with_time_zone_null("token_time"))
            // The last time when staff was seen in the room.
            .col(timestamp_with_time_zone_null("seen_time"))
            // The `request_id` of the job that looks into the room next.
            .col(uuid("look_id"))
            .primary_key(Index::create().col("org_id").col("call_id").col("start_time"))
            .foreign_key(
                ForeignKey::create()
                    .name("room_call")
                    .from("room", ("org_id", "call_id"))
                    .to("call", ("org_id", "id")),
            )
            .to_owned();
        manager.create_table(room).await?;
        let entrant = Table::create()
            .table("room_entrant")
            .col(uuid("org_id"))
            .col(uuid("call_id"))
            .col(timestamp_with_time_zone("start_time"))
            // The name on the media server, which has one right and one session.
            .col(text("identity"))
            .col(uuid("member_id"))
            .col(uuid("session_id"))
            .col(boolean("host"))
            .col(small_integer("label"))
            .col(timestamp_with_time_zone("close_time"))
            .col(boolean("session_ended"))
            .primary_key(
                Index::create()
                    .col("org_id")
                    .col("call_id")
                    .col("start_time")
                    .col("identity"),
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
            "CREATE INDEX room_open ON room (org_id, close_time)",
            "CREATE INDEX room_closed ON room (close_time)",
            "CREATE INDEX room_entrant_member ON room_entrant (org_id, member_id)",
            "CREATE INDEX room_entrant_closed ON room_entrant (close_time)",
        ] {
            conn.execute_unprepared(sql).await?;
        }
        Ok(())
    }
}
