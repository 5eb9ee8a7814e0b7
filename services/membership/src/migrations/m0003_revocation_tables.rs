//! Tables of revocations, which every replica of every service polls.
use sea_orm_migration::{prelude::*, schema::*};

pub(crate) struct Tables;

impl MigrationName for Tables {
    fn name(&self) -> &str {
        "membership_0003_revocation_tables"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Tables {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let ended_session = Table::create()
            .table("ended_session")
            .col(uuid("session_id").primary_key())
            .col(uuid("account_id"))
            .col(timestamp_with_time_zone("end_time"))
            .to_owned();
        let revoked_service_account_key = Table::create()
            .table("revoked_service_account_key")
            .col(uuid("org_id"))
            .col(uuid("key_id"))
            .col(timestamp_with_time_zone("revoke_time"))
            .primary_key(Index::create().col("org_id").col("key_id"))
            .to_owned();
        for table in [ended_session, revoked_service_account_key] {
            manager.create_table(table).await?;
        }
        Ok(())
    }
}
