//! The policy that says since when families read what was written before they came.
use sea_orm_migration::{prelude::*, schema::integer};

pub(crate) struct History;

impl MigrationName for History {
    fn name(&self) -> &str {
        "org_registry_0002_history_for_newcomers"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for History {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let table = Table::alter()
            .table("organization")
            // From the enrollment, the default of the policy.
            .add_column(integer("history_for_newcomers").default(1))
            .to_owned();
        manager.alter_table(table).await
    }
}
