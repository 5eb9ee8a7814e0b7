use sea_orm_migration::{prelude::*, schema::*};

/// Returns the migrations for the table of this library: `limit_bucket`.
pub fn migrations() -> Vec<Box<dyn MigrationTrait>> {
    vec![Box::new(LimitBucketTable)]
}

struct LimitBucketTable;

impl MigrationName for LimitBucketTable {
    fn name(&self) -> &str {
        "limits_0001_limit_bucket"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for LimitBucketTable {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let bucket = Table::create()
            .table("limit_bucket")
            .col(string("name"))
            .col(string("subject"))
            // Milliseconds since 1970.
            .col(big_integer("full_millis"))
            .primary_key(Index::create().col("name").col("subject"))
            .to_owned();
        manager.create_table(bucket).await?;
        let full = Index::create()
            .name("limit_bucket_full")
            .table("limit_bucket")
            .col("full_millis")
            .to_owned();
        manager.create_index(full).await
    }
}
