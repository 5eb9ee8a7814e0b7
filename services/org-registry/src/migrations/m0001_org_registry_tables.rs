use sea_orm_migration::{prelude::*, schema::*};

/// The first tables of the service.
pub(super) struct Tables;

impl MigrationName for Tables {
    fn name(&self) -> &str {
        "org_registry_0001_tables"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Tables {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let application = Table::create()
            .table("application")
            .col(uuid("application_id").primary_key())
            .col(integer("state"))
            .col(string("organization_name"))
            .col(integer("kind"))
            .col(string("region"))
            .col(string("ogrn"))
            .col(string("kpp"))
            .col(string("time_zone"))
            .col(string("head_full_name"))
            .col(string("administrator_full_name"))
            .col(string("administrator_email"))
            .col(string("administrator_phone"))
            .col(string("order_file_name"))
            .col(string("order_content_type"))
            .col(big_integer("order_size_bytes"))
            .col(string("order_sha256"))
            .col(uuid_null("org_id"))
            .col(timestamp_with_time_zone("create_time"))
            .col(big_integer("revision"))
            .to_owned();
        let step = of_application("application_step")
            .col(integer("state"))
            .col(string("actor"))
            .col(text("reason"))
            .col(timestamp_with_time_zone("change_time"))
            .to_owned();
        let chunk = of_application("application_chunk").col(blob("bytes")).to_owned();
        let organization = Table::create()
            .table("organization")
            .col(uuid("org_id").primary_key())
            .col(string("display_name"))
            .col(integer("kind"))
            .col(string("region"))
            .col(string("time_zone"))
            .col(string("ogrn"))
            .col(string("kpp"))
            .col(string("head_full_name"))
            // The policies. The first one is `teacher_verification` of the API.
            .col(boolean("verification_required"))
            .col(boolean("parent_inviters_class_staff"))
            .col(boolean("school_channel_open_to_families"))
            .col(big_integer("unused_after_seconds"))
            .col(big_integer("policies_version"))
            .col(timestamp_with_time_zone("create_time"))
            .col(timestamp_with_time_zone("update_time"))
            .col(big_integer("revision"))
            .to_owned();
        let unit = Table::create()
            .table("unit")
            .col(uuid("org_id"))
            .col(uuid("unit_id"))
            .col(integer("kind"))
            .col(string("label"))
            // The label in the form in which labels are compared (`parta_roster::label_key`).
            .col(string("label_key"))
            .col(string("roster_import_id"))
            .col(string("source_key"))
            .col(timestamp_with_time_zone("create_time"))
            .col(timestamp_with_time_zone_null("archive_time"))
            .col(big_integer("revision"))
            .primary_key(Index::create().col("org_id").col("unit_id"))
            .foreign_key(
                ForeignKey::create()
                    .from("unit", "org_id")
                    .to("organization", "org_id"),
            )
            .to_owned();
        let policy_change = Table::create()
            .table("policy_change")
            .col(uuid("org_id"))
            .col(uuid("policy_change_id"))
            .col(uuid("author_id"))
            .col(timestamp_with_time_zone("create_time"))
            .col(timestamp_with_time_zone_null("confirm_time"))
            .col(uuid_null("confirmer_id"))
            .col(text_null("order_number"))
            .col(date_null("order_date"))
            .col(text_null("order_text"))
            .col(timestamp_with_time_zone_null("drop_time"))
            .col(uuid_null("dropper_id"))
            .col(big_integer_null("policies_version"))
            .primary_key(Index::create().col("org_id").col("policy_change_id"))
            .foreign_key(
                ForeignKey::create()
                    .from("policy_change", "org_id")
                    .to("organization", "org_id"),
            )
            .to_owned();
        let value = Table::create()
            .table("policy_change_value")
            .col(uuid("org_id"))
            .col(uuid("policy_change_id"))
            .col(string("path"))
            .col(string("value_before"))
            .col(string("value_after"))
            .primary_key(Index::create().col("org_id").col("policy_change_id").col("path"))
            .foreign_key(
                ForeignKey::create()
                    .from("policy_change_value", ("org_id", "policy_change_id"))
                    .to("policy_change", ("org_id", "policy_change_id")),
            )
            .to_owned();
        let tables = [application, step, chunk, organization, unit, policy_change, value];
        for table in tables {
            manager.create_table(table).await?;
        }
        let by_state = Index::create()
            .name("application_by_state")
            .table("application")
            .col("state")
            .col("application_id")
            .to_owned();
        manager.create_index(by_state).await?;
        let db = manager.get_connection();
        // 3 is REFUSED: only a refused organization may apply again (R2).
        db.execute_unprepared(
            "CREATE UNIQUE INDEX application_number ON application (ogrn, kpp) WHERE state <> 3",
        )
        .await?;
        db.execute_unprepared(
            "CREATE UNIQUE INDEX unit_label ON unit (org_id, kind, label_key) WHERE archive_time IS NULL",
        )
        .await?;
        // A change that was neither applied, which gives it a version, nor dropped.
        db.execute_unprepared(
            "CREATE INDEX policy_change_pending ON policy_change (policy_change_id) \
             WHERE policies_version IS NULL AND drop_time IS NULL",
        )
        .await?;
        Ok(())
    }
}

/// A table of the numbered rows of an application.
fn of_application(table: &'static str) -> TableCreateStatement {
    Table::create()
        .table(table)
        .col(uuid("application_id"))
        .col(big_integer("number"))
        .primary_key(Index::create().col("application_id").col("number"))
        .foreign_key(
            ForeignKey::create()
                .from(table, "application_id")
                .to("application", "application_id"),
        )
        .to_owned()
}
