//! One-time codes that the school gives, and the sessions that they start.
use sea_orm_migration::{prelude::*, schema::*};

pub(crate) struct Tables;

impl MigrationName for Tables {
    fn name(&self) -> &str {
        "membership_0005_one_time_codes"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Tables {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let one_time_code = Table::create()
            .table("one_time_code")
            .col(uuid("org_id"))
            .col(uuid("member_id"))
            .col(uuid("code_id"))
            .col(uuid("account_id"))
            .col(uuid_null("requester_id"))
            .col(uuid_null("issuer_id"))
            .col(timestamp_with_time_zone("create_time"))
            .col(timestamp_with_time_zone("expire_time"))
            .col(var_binary_null("code_digest", 32))
            .col(uuid_null("session_id"))
            .col(timestamp_with_time_zone_null("use_time"))
            .col(uuid_null("use_request_id"))
            .col(timestamp_with_time_zone_null("confirm_time"))
            .col(uuid_null("confirmer_id"))
            .primary_key(Index::create().col("org_id").col("member_id"))
            .foreign_key(
                ForeignKey::create()
                    .name("one_time_code_member")
                    .from("one_time_code", ("org_id", "member_id"))
                    .to("member", ("org_id", "member_id")),
            )
            .to_owned();
        manager.create_table(one_time_code).await?;
        // SQLite adds one column by a statement.
        for column in [
            uuid_null("code_org_id"),
            timestamp_with_time_zone_null("confirm_time"),
        ] {
            let session = Table::alter().table("session").add_column(column).to_owned();
            manager.alter_table(session).await?;
        }
        for sql in [
            // The holder of a code does not know the organization, so that the index is unique across
            // organizations.
            "CREATE UNIQUE INDEX one_time_code_digest ON one_time_code (code_digest)",
            "CREATE INDEX one_time_code_created ON one_time_code (create_time)",
        ] {
            manager.get_connection().execute_unprepared(sql).await?;
        }
        Ok(())
    }
}
