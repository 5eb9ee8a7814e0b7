//! The first tables of the service.
use sea_orm_migration::{prelude::*, schema::*};

pub(super) struct Tables;

impl MigrationName for Tables {
    fn name(&self) -> &str {
        "invitation_0001_tables"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Tables {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager
            .create_table(
                Table::create()
                    .table("invitation")
                    .col(uuid("org_id"))
                    .col(uuid("id"))
                    .col(text("role"))
                    .col(uuid_null("unit_id"))
                    .col(uuid_null("child_id"))
                    .col(uuid_null("claim_member_id"))
                    .col(integer("max_uses"))
                    .col(integer("use_count"))
                    .col(text("recipient_label"))
                    .col(text_null("recipient_address"))
                    .col(uuid_null("issuer_id"))
                    .col(uuid_null("roster_import_id"))
                    .col(var_binary("token_digest", 32))
                    .col(var_binary("code_digest", 32))
                    .col(timestamp_with_time_zone("create_time"))
                    .col(timestamp_with_time_zone("expire_time"))
                    .col(timestamp_with_time_zone_null("last_use_time"))
                    .col(timestamp_with_time_zone_null("revoke_time"))
                    .col(big_integer("revision"))
                    .primary_key(Index::create().col("org_id").col("id"))
                    // Backs the conditional update: no code path can store more uses than the link has.
                    .check(Expr::cust("use_count >= 0 AND use_count <= max_uses"))
                    .to_owned(),
            )
            .await?;
        manager
            .create_table(
                Table::create()
                    .table("reservation")
                    .col(uuid("org_id"))
                    .col(uuid("id"))
                    .col(uuid("invitation_id"))
                    .col(uuid("flow_id"))
                    .col(uuid_null("issuer_id"))
                    .col(text("stage"))
                    .col(uuid_null("member_id"))
                    .col(uuid_null("join_request_id"))
                    .col(text_null("refusal"))
                    .col(timestamp_with_time_zone("create_time"))
                    .col(timestamp_with_time_zone("lease_time"))
                    .col(timestamp_with_time_zone_null("finish_time"))
                    .primary_key(Index::create().col("org_id").col("id"))
                    .foreign_key(
                        ForeignKey::create()
                            .name("reservation_invitation")
                            .from("reservation", ("org_id", "invitation_id"))
                            .to("invitation", ("org_id", "id")),
                    )
                    .to_owned(),
            )
            .await?;
        let conn = manager.get_connection();
        for sql in [
            // The holder of a secret does not know the organization, so these two are unique across
            // organizations.
            "CREATE UNIQUE INDEX invitation_token ON invitation (token_digest)",
            "CREATE UNIQUE INDEX invitation_code ON invitation (code_digest)",
            "CREATE INDEX invitation_unit ON invitation (org_id, unit_id)",
            "CREATE INDEX invitation_issuer ON invitation (org_id, issuer_id)",
            // An import creates one link per expected member, however often its event is delivered.
            "CREATE UNIQUE INDEX invitation_import ON invitation (org_id, roster_import_id, claim_member_id) \
             WHERE roster_import_id IS NOT NULL",
            // At most one reservation per invitation and join flow that is not released.
            "CREATE UNIQUE INDEX reservation_flow ON reservation (org_id, invitation_id, flow_id) \
             WHERE stage <> 'released'",
            "CREATE UNIQUE INDEX reservation_request ON reservation (org_id, join_request_id) \
             WHERE stage = 'requested'",
            "CREATE INDEX reservation_of_request ON reservation (org_id, join_request_id) \
             WHERE join_request_id IS NOT NULL",
            "CREATE INDEX reservation_pending ON reservation (lease_time) WHERE stage = 'pending'",
        ] {
            conn.execute_unprepared(sql).await?;
        }
        Ok(())
    }
}
