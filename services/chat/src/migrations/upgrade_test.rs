//! A migration that only the test of upgrades has: the next version of the schema, with which this version
//! must serve. It changes the table that every message writes.
use sea_orm_migration::prelude::*;

pub(super) struct UpgradeTest;

impl MigrationName for UpgradeTest {
    fn name(&self) -> &str {
        "chat_9999_upgrade_test"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for UpgradeTest {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let db = manager.get_connection();
        db.execute_unprepared("ALTER TABLE entry ADD COLUMN upgrade_test smallint NOT NULL DEFAULT 1")
            .await?;
        Ok(())
    }
}
