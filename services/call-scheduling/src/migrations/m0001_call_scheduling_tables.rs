use sea_orm_migration::{prelude::*, schema::*};

/// The first tables of the service.
pub(super) struct Tables;

impl MigrationName for Tables {
    fn name(&self) -> &str {
        "call_scheduling_0001_tables"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Tables {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager
            .create_table(
                Table::create()
                    .table("call")
                    .col(uuid("org_id"))
                    .col(uuid("id"))
                    .col(uuid("unit_id"))
                    .col(boolean("of_class"))
                    .col(text("title"))
                    .col(small_integer("kind"))
                    .col(small_integer("format"))
                    .col(text("room"))
                    .col(uuid("organizer_id"))
                    .col(timestamp("start_civil_time"))
                    .col(text("time_zone"))
                    .col(integer("duration_minutes"))
                    .col(small_integer_null("interval_weeks"))
                    .col(date_null("until_date"))
                    .col(integer_null("occurrence_count"))
                    .col(timestamp_with_time_zone("first_start_time"))
                    .col(timestamp_with_time_zone("last_end_time"))
                    .col(boolean("announced"))
                    .col(timestamp_with_time_zone("create_time"))
                    .col(timestamp_with_time_zone_null("cancel_time"))
                    .col(small_integer_null("cancel_reason"))
                    .col(big_integer("revision"))
                    .primary_key(Index::create().col("org_id").col("id"))
                    .to_owned(),
            )
            .await?;
        manager
            .create_table(
                Table::create()
                    .table("call_participant")
                    .col(uuid("org_id"))
                    .col(uuid("call_id"))
                    .col(uuid("member_id"))
                    .primary_key(Index::create().col("org_id").col("call_id").col("member_id"))
                    .foreign_key(&mut of_call("call_participant"))
                    .to_owned(),
            )
            .await?;
        manager
            .create_table(
                Table::create()
                    .table("occurrence")
                    .col(uuid("org_id"))
                    .col(uuid("call_id"))
                    .col(timestamp_with_time_zone("start_time"))
                    .col(timestamp_with_time_zone_null("cancel_time"))
                    .primary_key(Index::create().col("org_id").col("call_id").col("start_time"))
                    .foreign_key(&mut of_call("occurrence"))
                    .to_owned(),
            )
            .await?;
        let conn = manager.get_connection();
        for sql in [
            "CREATE INDEX call_unit ON call (org_id, unit_id, last_end_time)",
            "CREATE INDEX call_window ON call (org_id, last_end_time)",
        ] {
            conn.execute_unprepared(sql).await?;
        }
        Ok(())
    }
}

fn of_call(table: &'static str) -> ForeignKeyCreateStatement {
    ForeignKey::create()
        .name(format!("{table}_call"))
        .from(table, ("org_id", "call_id"))
        .to("call", ("org_id", "id"))
        .to_owned()
}
