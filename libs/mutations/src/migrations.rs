use sea_orm_migration::{prelude::*, schema::*};

/// Returns the migrations for the table of this library: `idempotency_record`.
pub fn migrations() -> Vec<Box<dyn MigrationTrait>> {
    vec![Box::new(IdempotencyRecord)]
}

struct IdempotencyRecord;

impl MigrationName for IdempotencyRecord {
    fn name(&self) -> &str {
        "mutations_0001_idempotency_record"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for IdempotencyRecord {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let record = Table::create()
            .table("idempotency_record")
            .col(string("principal"))
            .col(string("rpc"))
            .col(uuid("request_id"))
            .col(blob("digest"))
            .col(blob_null("response"))
            .col(uuid_null("log_org_id"))
            .col(timestamp_with_time_zone("create_time"))
            .primary_key(Index::create().col("principal").col("rpc").col("request_id"))
            .to_owned();
        manager.create_table(record).await?;
        let age = Index::create()
            .name("idempotency_record_age")
            .table("idempotency_record")
            .col("create_time")
            .to_owned();
        manager.create_index(age).await
    }
}
