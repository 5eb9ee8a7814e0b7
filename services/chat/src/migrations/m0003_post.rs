//! The functions that store messages.
use sea_orm_migration::{prelude::*, sea_orm::DbBackend};

pub(super) struct MessageFunctions;

impl MigrationName for MessageFunctions {
    fn name(&self) -> &str {
        "chat_0003_post"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for MessageFunctions {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        if manager.get_database_backend() == DbBackend::Postgres {
            let db = manager.get_connection();
            db.execute_unprepared(include_str!("m0003_post.sql")).await?;
        }
        Ok(())
    }
}
