use sea_orm_migration::{prelude::*, schema::*};

/// Returns the migrations for the tables of this library: `schema_requirement`, `idempotency_record`,
/// `event_head`, `job`.
pub fn migrations() -> Vec<Box<dyn MigrationTrait>> {
    vec![Box::new(Tables)]
}

struct Tables;

impl MigrationName for Tables {
    fn name(&self) -> &str {
        "storage_0001_tables"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Tables {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let requirement = Table::create()
            .table("schema_requirement")
            .col(string("migration").primary_key())
            .to_owned();
        manager.create_table(requirement).await?;

        let record = Table::create()
            .table("idempotency_record")
            .col(string("principal"))
            .col(string("rpc"))
            .col(uuid("request_id"))
            .col(blob("digest"))
            .col(blob_null("response"))
            .col(timestamp_with_time_zone("create_time"))
            .primary_key(Index::create().col("principal").col("rpc").col("request_id"))
            .to_owned();
        manager.create_table(record).await?;
        let age = Index::create()
            .name("idempotency_record_age")
            .table("idempotency_record")
            .col("create_time")
            .to_owned();
        manager.create_index(age).await?;

        let head = Table::create()
            .table("event_head")
            .col(small_integer("head_id").primary_key())
            .col(uuid("incarnation"))
            .col(big_integer("position"))
            .to_owned();
        manager.create_table(head).await?;

        let job = Table::create()
            .table("job")
            .col(uuid("job_id").primary_key())
            .col(uuid_null("org_id"))
            .col(string("kind"))
            .col(blob("payload"))
            .col(uuid("request_id"))
            .col(timestamp_with_time_zone("create_time"))
            .col(timestamp_with_time_zone_null("due_time"))
            .col(integer("attempts"))
            .col(uuid_null("lease"))
            .col(text_null("failure"))
            .to_owned();
        manager.create_table(job).await?;
        let due = Index::create()
            .name("job_due")
            .table("job")
            .col("due_time")
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
