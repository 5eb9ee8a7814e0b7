//! The responsible member of a chat with named participants, the deputy, and from where a participant reads.
use sea_orm_migration::{
    prelude::*,
    schema::{big_integer, uuid_null},
};

pub(super) struct Responsible;

impl MigrationName for Responsible {
    fn name(&self) -> &str {
        "chat_0005_responsible"
    }
}

/// Chats that exist get a member of the staff, first one who may be responsible for the pupils. The next
/// change of the roster that concerns the chat decides whether that member may be responsible. The number 6
/// is the kind of chats with named participants, and 3 and 4 are the kinds of staff.
const FILL: &str = "UPDATE chat SET responsible_id = ( \
       SELECT p.member_id FROM participant p \
       WHERE p.org_id = chat.org_id AND p.chat_id = chat.chat_id AND p.left_seq IS NULL AND p.kind IN (3, 4) \
       ORDER BY p.kind DESC, p.joined_seq LIMIT 1) \
     WHERE kind = 6";
const CLOSE: &str = "UPDATE chat SET unsupervised = TRUE WHERE kind = 6 AND responsible_id IS NULL AND EXISTS ( \
       SELECT 1 FROM participant p \
       WHERE p.org_id = chat.org_id AND p.chat_id = chat.chat_id AND p.left_seq IS NULL)";

#[async_trait::async_trait]
impl MigrationTrait for Responsible {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for column in ["responsible_id", "deputy_id", "ground_unit_id"] {
            let table = Table::alter()
                .table("chat")
                .add_column(uuid_null(column))
                .to_owned();
            manager.alter_table(table).await?;
        }
        // Those who are in a chat when the schema changes read what they have read before.
        let table = Table::alter()
            .table("participant")
            .add_column(big_integer("visible_after").default(0))
            .to_owned();
        manager.alter_table(table).await?;
        let db = manager.get_connection();
        for statement in [FILL, CLOSE] {
            db.execute_unprepared(statement).await?;
        }
        Ok(())
    }
}
