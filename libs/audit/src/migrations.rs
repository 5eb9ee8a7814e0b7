use sea_orm_migration::{prelude::*, schema::*};

/// Returns the migrations for the tables of this library: `audit_entry`, `audit_head`.
pub fn migrations() -> Vec<Box<dyn MigrationTrait>> {
    vec![Box::new(Tables)]
}

struct Tables;

impl MigrationName for Tables {
    fn name(&self) -> &str {
        "audit_0001_tables"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Tables {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let entry = Table::create()
            .table("audit_entry")
            .col(uuid("org_id"))
            .col(uuid("entry_id"))
            .col(timestamp_with_time_zone("occur_time"))
            .col(string("rpc"))
            .col(string("actor"))
            .col(string_null("on_behalf_of"))
            .col(text("object"))
            .col(uuid_null("request_id"))
            .col(big_integer_null("seq"))
            .col(blob_null("prev_hash"))
            .col(blob_null("hash"))
            .primary_key(Index::create().col("org_id").col("entry_id"))
            .to_owned();
        manager.create_table(entry).await?;
        // The order of the chain. Unsealed rows have no sequence number and do not collide.
        let order = Index::create()
            .name("audit_entry_order")
            .table("audit_entry")
            .col("org_id")
            .col("seq")
            .unique()
            .to_owned();
        manager.create_index(order).await?;
        manager
            .get_connection()
            .execute_unprepared("CREATE INDEX audit_entry_unsealed ON audit_entry (org_id) WHERE seq IS NULL")
            .await?;

        let head = Table::create()
            .table("audit_head")
            .col(uuid("org_id").primary_key())
            .col(big_integer("seq"))
            .col(blob("hash"))
            .to_owned();
        manager.create_table(head).await
    }
}
