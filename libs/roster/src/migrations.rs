use sea_orm_migration::{prelude::*, schema::*};

/// Returns the migrations for the tables of the projection, `roster_*`. They require those of `parta_feed`.
pub fn migrations() -> Vec<Box<dyn MigrationTrait>> {
    vec![
        Box::new(Tables),
        Box::new(BeginTimes),
        Box::new(History),
        Box::new(ArchiveTimes),
    ]
}

struct Tables;

impl MigrationName for Tables {
    fn name(&self) -> &str {
        "roster_0001_tables"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Tables {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let organization = Table::create()
            .table("roster_organization")
            .col(uuid("org_id").primary_key())
            .col(string("display_name"))
            .col(integer("kind"))
            .col(string("time_zone"))
            .col(boolean("verification_required"))
            .col(boolean("parent_inviters_class_staff"))
            .col(boolean("school_channel_open_to_families"))
            .col(big_integer("unused_after_seconds"))
            .col(boolean("seen"))
            .to_owned();
        let unit = keyed("roster_unit", "unit_id")
            .col(integer("kind"))
            .col(string("label"))
            .col(boolean("archived"))
            .to_owned();
        let member = keyed("roster_member", "member_id")
            .col(integer("state"))
            .col(integer("roles"))
            .col(integer("suspended_roles"))
            .col(boolean("teacher_verified"))
            .col(integer("release_count"))
            .col(boolean("removed_for_cause"))
            .col(boolean("acting_head"))
            .to_owned();
        let suspension = keyed("roster_suspension", "suspension_id")
            .col(uuid("member_id"))
            .col(integer("roles"))
            .to_owned();
        let duty = keyed("roster_duty", "duty_id")
            .col(uuid("member_id"))
            .col(integer("kind"))
            .col(uuid_null("unit_id"))
            .col(boolean("pupils_only"))
            .to_owned();
        let duty_pupil = Table::create()
            .table("roster_duty_pupil")
            .col(uuid("org_id"))
            .col(uuid("duty_id"))
            .col(uuid("pupil_id"))
            .primary_key(Index::create().col("org_id").col("duty_id").col("pupil_id"))
            .to_owned();
        let assignment = keyed("roster_assignment", "assignment_id")
            .col(uuid("member_id"))
            .col(uuid("unit_id"))
            .col(boolean("class_teacher"))
            .col(boolean("substitution"))
            .to_owned();
        let enrollment = keyed("roster_enrollment", "enrollment_id")
            .col(uuid("member_id"))
            .col(uuid("unit_id"))
            .to_owned();
        let guardianship = keyed("roster_guardianship", "guardianship_id")
            .col(uuid("guardian_id"))
            .col(uuid("child_id"))
            .col(boolean("confirmed"))
            .col(boolean("unit_rooms_only"))
            .to_owned();
        let relation_limit = Table::create()
            .table("roster_relation_limit")
            .col(uuid("org_id"))
            .col(uuid("guardian_id"))
            .col(uuid("child_id"))
            .col(integer("limits"))
            .col(boolean("seen"))
            .primary_key(Index::create().col("org_id").col("guardian_id").col("child_id"))
            .to_owned();
        let protection = keyed("roster_protection", "member_id");
        for table in [
            organization,
            unit,
            member,
            suspension,
            duty,
            duty_pupil,
            assignment,
            enrollment,
            guardianship,
            relation_limit,
            protection,
        ] {
            manager.create_table(table).await?;
        }
        for (table, column) in [
            ("roster_suspension", "member_id"),
            ("roster_duty", "member_id"),
            ("roster_assignment", "member_id"),
            ("roster_assignment", "unit_id"),
            ("roster_enrollment", "member_id"),
            ("roster_enrollment", "unit_id"),
            ("roster_guardianship", "guardian_id"),
            ("roster_guardianship", "child_id"),
            ("roster_relation_limit", "child_id"),
        ] {
            let index = Index::create()
                .name(format!("{table}_{column}"))
                .table(table)
                .col("org_id")
                .col(column)
                .to_owned();
            manager.create_index(index).await?;
        }
        Ok(())
    }
}

struct BeginTimes;

impl MigrationName for BeginTimes {
    fn name(&self) -> &str {
        "roster_0002_begin_times"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for BeginTimes {
    /// Rows of earlier builds have no time until a snapshot replaces them.
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for table in ["roster_assignment", "roster_enrollment", "roster_guardianship"] {
            let table = Table::alter()
                .table(table)
                .add_column(timestamp_with_time_zone_null("begin_time"))
                .to_owned();
            manager.alter_table(table).await?;
        }
        Ok(())
    }
}

struct History;

impl MigrationName for History {
    fn name(&self) -> &str {
        "roster_0003_history_for_newcomers"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for History {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let table = Table::alter()
            .table("roster_organization")
            // From the enrollment, the default of the policy.
            .add_column(integer("history_for_newcomers").default(1))
            .to_owned();
        manager.alter_table(table).await
    }
}

struct ArchiveTimes;

impl MigrationName for ArchiveTimes {
    fn name(&self) -> &str {
        "roster_0004_archive_times"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for ArchiveTimes {
    /// Rows of earlier builds have no time until a snapshot replaces them.
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for (table, column) in [("roster_unit", "archive_time"), ("roster_duty", "begin_time")] {
            let table = Table::alter()
                .table(table)
                .add_column(timestamp_with_time_zone_null(column))
                .to_owned();
            manager.alter_table(table).await?;
        }
        let index = Index::create()
            .name("roster_duty_unit_id")
            .table("roster_duty")
            .col("org_id")
            .col("unit_id")
            .to_owned();
        manager.create_index(index).await
    }
}

/// Defines a table keyed by organization and id. There are no foreign keys, because rows come from two feeds
/// without a mutual order.
fn keyed(table: &'static str, key: &'static str) -> TableCreateStatement {
    Table::create()
        .table(table)
        .col(uuid("org_id"))
        .col(uuid(key))
        .col(boolean("seen"))
        .primary_key(Index::create().col("org_id").col(key))
        .to_owned()
}
