//! The functions that store messages without waiting for the row of a chat.
use sea_orm_migration::{prelude::*, sea_orm::DbBackend};

pub(super) struct TryFunctions;

impl MigrationName for TryFunctions {
    fn name(&self) -> &str {
        "chat_0004_try_post"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for TryFunctions {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        if manager.get_database_backend() == DbBackend::Postgres {
            let db = manager.get_connection();
            db.execute_unprepared(include_str!("m0004_try_post.sql")).await?;
        }
        Ok(())
    }
}
