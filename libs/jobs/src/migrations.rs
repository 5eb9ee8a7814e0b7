use sea_orm_migration::{prelude::*, schema::*};

/// Returns the migrations for the table of this library: `job`.
pub fn migrations() -> Vec<Box<dyn MigrationTrait>> {
    vec![Box::new(JobTable), Box::new(JobLease), Box::new(JobFailTime)]
}

struct JobTable;

impl MigrationName for JobTable {
    fn name(&self) -> &str {
        "jobs_0001_job"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for JobTable {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let job = Table::create()
            .table("job")
            .col(uuid("job_id").primary_key())
            .col(uuid_null("org_id"))
            .col(string("kind"))
            .col(blob("payload"))
            .col(uuid("request_id"))
            .col(timestamp_with_time_zone("create_time"))
            // Milliseconds since 1970. NULL: the job has failed.
            .col(big_integer_null("due_millis"))
            // The length of the wait that ends at `due_millis`, by the clock of the database. NULL: the job
            // has failed, or is due at a time of the application.
            .col(big_integer_null("wait_millis"))
            .col(integer("attempts"))
            .col(uuid_null("lease"))
            .col(text_null("failure"))
            .to_owned();
        manager.create_table(job).await?;
        let due = Index::create()
            .name("job_due")
            .table("job")
            .col("due_millis")
            .to_owned();
        manager.create_index(due).await?;
        let once = Index::create()
            .name("job_once")
            .table("job")
            .col("kind")
            .col("request_id")
            .unique()
            .to_owned();
        manager.create_index(once).await
    }
}

/// The end of a lease by the clock of the database, the progress of an attempt, and an index for the claim by
/// kind.
struct JobLease;

impl MigrationName for JobLease {
    fn name(&self) -> &str {
        "jobs_0002_job_lease"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for JobLease {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        // SQLite adds one column per statement.
        for column in ["lease_end_millis", "progress_done", "progress_total"] {
            let add = Table::alter()
                .table("job")
                .add_column(big_integer_null(column))
                .to_owned();
            manager.alter_table(add).await?;
        }
        let due = Index::create()
            .name("job_due_by_kind")
            .table("job")
            .col("kind")
            .col("due_millis")
            .to_owned();
        manager.create_index(due).await?;
        // Few jobs wait, and many endings are scheduled for later days.
        let waiting = "CREATE INDEX job_waiting ON job (kind, due_millis) WHERE wait_millis IS NOT NULL";
        manager.get_connection().execute_unprepared(waiting).await?;
        manager
            .drop_index(Index::drop().name("job_due").table("job").to_owned())
            .await
    }
}

/// The time of a permanent failure, from which the job is kept for the operator.
struct JobFailTime;

impl MigrationName for JobFailTime {
    fn name(&self) -> &str {
        "jobs_0003_job_fail_time"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for JobFailTime {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let add = Table::alter()
            .table("job")
            .add_column(timestamp_with_time_zone_null("fail_time"))
            .to_owned();
        manager.alter_table(add).await?;
        // Jobs that failed before are kept from now on.
        manager
            .get_connection()
            .execute_unprepared("UPDATE job SET fail_time = CURRENT_TIMESTAMP WHERE due_millis IS NULL")
            .await?;
        // The purge, the list of the operator and the metric read the failed jobs only.
        manager
            .get_connection()
            .execute_unprepared("CREATE INDEX job_failed ON job (fail_time) WHERE due_millis IS NULL")
            .await?;
        Ok(())
    }
}
