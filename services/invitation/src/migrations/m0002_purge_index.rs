//! The index by which released reservations are found whose retention has passed.
use sea_orm_migration::prelude::*;

pub(super) struct PurgeIndex;

impl MigrationName for PurgeIndex {
    fn name(&self) -> &str {
        "invitation_0002_purge_index"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for PurgeIndex {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let sql = "CREATE INDEX reservation_released ON reservation (finish_time) WHERE stage = 'released'";
        manager.get_connection().execute_unprepared(sql).await?;
        Ok(())
    }
}
