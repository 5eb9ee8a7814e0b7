//! Tables of roster imports. `roster_import/storage` says what the columns hold, for example JSON in
//! `planned`, `done`, `mass_changes`, `classes` and `archived_units`.
use sea_orm_migration::{prelude::*, schema::*};

pub(crate) struct Tables;

impl MigrationName for Tables {
    fn name(&self) -> &str {
        "membership_0002_roster_import_tables"
    }
}

/// A table of the rows of an import, numbered by `seq`.
fn numbered_rows_of_import(table: &'static str) -> TableCreateStatement {
    Table::create()
        .table(table)
        .col(uuid("org_id"))
        .col(uuid("import_id"))
        .col(big_integer("seq"))
        .primary_key(Index::create().col("org_id").col("import_id").col("seq"))
        .foreign_key(
            ForeignKey::create()
                .name(format!("{table}_import"))
                .from(table, ("org_id", "import_id"))
                .to("roster_import", ("org_id", "import_id")),
        )
        .to_owned()
}

/// A table that relates a key of the imported files to the record that Parta has for it.
fn rows_by_source_key(table: &'static str) -> TableCreateStatement {
    Table::create()
        .table(table)
        .col(uuid("org_id"))
        .col(text("source_key"))
        .primary_key(Index::create().col("org_id").col("source_key"))
        .to_owned()
}

#[async_trait::async_trait]
impl MigrationTrait for Tables {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let import = Table::create()
            .table("roster_import")
            .col(uuid("org_id"))
            .col(uuid("import_id"))
            .col(integer("state"))
            .col(text("one_roster_version"))
            .col(blob("planned"))
            .col(blob("done"))
            .col(big_integer("change_count"))
            .col(integer("problem_count"))
            .col(integer("no_effect_count"))
            .col(integer("waiting_count"))
            .col(text("mass_changes"))
            .col(text("classes"))
            .col(text("archived_units"))
            .col(uuid_null("starter_id"))
            .col(big_integer("position"))
            .col(timestamp_with_time_zone("create_time"))
            .col(timestamp_with_time_zone_null("start_time"))
            .col(timestamp_with_time_zone_null("finish_time"))
            .col(big_integer("revision"))
            .primary_key(Index::create().col("org_id").col("import_id"))
            .to_owned();
        let change = numbered_rows_of_import("roster_import_change")
            .col(small_integer("kind"))
            .col(text("source_key"))
            .col(text("other_key"))
            .col(text("person"))
            .col(text("unit_label"))
            .col(text("before"))
            .col(text("after"))
            .col(integer("value"))
            .col(text("file"))
            .col(big_integer("line"))
            .col(small_integer("outcome"))
            .col(small_integer("no_effect"))
            .to_owned();
        let problem = numbered_rows_of_import("roster_import_problem")
            .col(text("file"))
            .col(big_integer("line"))
            .col(text("column_name"))
            .col(text("description"))
            .col(boolean("fatal"))
            .to_owned();
        let person = rows_by_source_key("roster_person")
            .col(uuid("member_id"))
            .to_owned();
        let class = rows_by_source_key("roster_class").col(text("label")).to_owned();
        for table in [import, change, problem, person, class] {
            manager.create_table(table).await?;
        }
        Ok(())
    }
}
