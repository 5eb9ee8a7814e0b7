//! Indexes by which rows are found whose retention has passed.
use sea_orm_migration::prelude::*;

pub(crate) struct Indexes;

impl MigrationName for Indexes {
    fn name(&self) -> &str {
        "membership_0004_purge_indexes"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Indexes {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for sql in [
            "CREATE INDEX session_ended ON session (end_time) WHERE end_time IS NOT NULL",
            "CREATE INDEX session_refreshed ON session (refresh_time)",
            "CREATE INDEX sign_in_failure_latest ON sign_in_failure (latest_time)",
            "CREATE INDEX roster_import_finished ON roster_import (finish_time)",
            "CREATE INDEX roster_import_unfinished ON roster_import (create_time) WHERE finish_time IS NULL",
            "CREATE INDEX contact_change_created ON contact_change (create_time)",
            "CREATE INDEX role_change_created ON role_change (create_time)",
            "CREATE INDEX role_change_fact_created ON role_change_fact (create_time)",
            "CREATE INDEX join_flow_created ON join_flow (create_time)",
        ] {
            manager.get_connection().execute_unprepared(sql).await?;
        }
        Ok(())
    }
}
