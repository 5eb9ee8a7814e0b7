//! The service's own tables.
use sea_orm_migration::{prelude::*, schema::*};

pub(crate) struct Tables;

impl MigrationName for Tables {
    fn name(&self) -> &str {
        "membership_0001_tables"
    }
}

fn table(name: &'static str) -> TableCreateStatement {
    Table::create().table(name).to_owned()
}

/// A table of rows that belong to an organization.
fn keyed(name: &'static str, key: &'static str) -> TableCreateStatement {
    table(name)
        .col(uuid("org_id"))
        .col(uuid(key))
        .primary_key(Index::create().col("org_id").col(key))
        .to_owned()
}

fn of_member(table: &'static str, column: &'static str) -> ForeignKeyCreateStatement {
    ForeignKey::create()
        .name(format!("{table}_{column}"))
        .from(table, ("org_id", column))
        .to("member", ("org_id", "member_id"))
        .to_owned()
}

fn of_account(table: &'static str) -> ForeignKeyCreateStatement {
    ForeignKey::create()
        .name(format!("{table}_account"))
        .from(table, "account_id")
        .to("account", "account_id")
        .to_owned()
}

#[async_trait::async_trait]
impl MigrationTrait for Tables {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let time = timestamp_with_time_zone::<&'static str>;
        let time_null = timestamp_with_time_zone_null::<&'static str>;
        let tables = [
            table("account")
                .col(uuid("account_id").primary_key())
                .col(text("full_name"))
                .col(time("create_time"))
                .to_owned(),
            table("account_address")
                .col(text("address"))
                .col(uuid("account_id"))
                .col(time("verify_time"))
                .col(time_null("end_time"))
                .primary_key(Index::create().col("address").col("account_id"))
                .foreign_key(&mut of_account("account_address"))
                .to_owned(),
            table("sign_in_failure")
                .col(text("subject").primary_key())
                .col(integer("failures"))
                .col(time("latest_time"))
                .to_owned(),
            table("session")
                .col(uuid("session_id").primary_key())
                .col(uuid("account_id"))
                .col(big_integer("generation"))
                .col(time("create_time"))
                .col(time("refresh_time"))
                .col(time_null("end_time"))
                .foreign_key(&mut of_account("session"))
                .to_owned(),
            table("sign_in_flow")
                .col(uuid("flow_id").primary_key())
                .col(text("address"))
                .col(integer("purpose"))
                .col(integer("tries"))
                .col(time("create_time"))
                .col(time("expire_time"))
                .col(time_null("verify_time"))
                .col(var_binary_null("proof_digest", 32))
                .col(uuid_null("session_id"))
                .to_owned(),
            table("contact_change")
                .col(uuid("account_id").primary_key())
                .col(uuid("flow_id"))
                .col(uuid("present_flow_id"))
                .col(time("create_time"))
                .col(time_null("confirm_time"))
                .foreign_key(&mut of_account("contact_change"))
                .to_owned(),
            table("join_flow")
                .col(uuid("flow_id").primary_key())
                .col(uuid("account_id"))
                .col(time("create_time"))
                .foreign_key(&mut of_account("join_flow"))
                .to_owned(),
            keyed("member", "member_id")
                .col(uuid_null("account_id"))
                .col(text("full_name"))
                .col(text("name_key"))
                .col(integer("state"))
                .col(integer("roles"))
                .col(integer("revoked_roles"))
                .col(boolean("teacher_verified"))
                .col(text_null("evidence"))
                .col(uuid_null("verifier_id"))
                .col(uuid_null("invitation_id"))
                .col(integer_null("claim_roles"))
                .col(time_null("claim_time"))
                .col(integer("release_count"))
                .col(time("create_time"))
                .col(time_null("leave_time"))
                .col(text_null("leave_cause"))
                .col(integer_null("leave_reason"))
                .col(uuid_null("joined_id"))
                .col(big_integer("revision"))
                .foreign_key(&mut of_account("member"))
                .to_owned(),
            table("released_profile")
                .col(uuid("org_id"))
                .col(uuid("member_id"))
                .col(uuid("account_id"))
                .col(time("release_time"))
                .primary_key(Index::create().col("org_id").col("member_id").col("account_id"))
                .foreign_key(&mut of_member("released_profile", "member_id"))
                .foreign_key(&mut of_account("released_profile"))
                .to_owned(),
            table("admission")
                .col(uuid("org_id"))
                .col(uuid("invitation_id"))
                .col(uuid("account_id"))
                .col(uuid("member_id"))
                .col(time("create_time"))
                .primary_key(
                    Index::create()
                        .col("org_id")
                        .col("invitation_id")
                        .col("account_id"),
                )
                .foreign_key(&mut of_member("admission", "member_id"))
                .to_owned(),
            keyed("join_request", "join_request_id")
                .col(uuid("account_id"))
                .col(text("full_name"))
                .col(uuid("invitation_id"))
                .col(uuid_null("issuer_id"))
                .col(integer("role"))
                .col(uuid_null("unit_id"))
                .col(uuid_null("child_id"))
                .col(uuid_null("claim_member_id"))
                .col(boolean("returning"))
                .col(integer("state"))
                .col(time("create_time"))
                .col(time_null("decide_time"))
                .col(uuid_null("decider_id"))
                .col(uuid_null("member_id"))
                .foreign_key(&mut of_account("join_request"))
                .to_owned(),
            keyed("ended_invitation", "invitation_id")
                .col(time("end_time"))
                .to_owned(),
            table("appointment")
                .col(uuid("org_id").primary_key())
                .col(uuid("application_id"))
                .col(text("phone"))
                .col(text("full_name"))
                .col(text("organization_display_name"))
                .col(time("create_time"))
                .col(uuid_null("claim_account"))
                .col(time_null("claim_time"))
                .to_owned(),
            keyed("assignment", "assignment_id")
                .col(uuid("member_id"))
                .col(uuid("unit_id"))
                .col(integer("kind"))
                .col(time("create_time"))
                .col(time_null("expire_time"))
                .col(date_null("until_date"))
                .col(time_null("end_time"))
                .col(boolean("ended_by_decision"))
                .foreign_key(&mut of_member("assignment", "member_id"))
                .to_owned(),
            table("due_ending")
                .col(uuid("org_id"))
                .col(integer("kind"))
                .col(uuid("object_id"))
                .col(time("due_time"))
                .primary_key(Index::create().col("org_id").col("kind").col("object_id"))
                .to_owned(),
            keyed("enrollment", "enrollment_id")
                .col(uuid("member_id"))
                .col(uuid("unit_id"))
                .col(time("create_time"))
                .col(time_null("end_time"))
                .col(boolean("ended_by_decision"))
                .foreign_key(&mut of_member("enrollment", "member_id"))
                .to_owned(),
            keyed("guardianship", "guardianship_id")
                .col(uuid("guardian_id"))
                .col(uuid("child_id"))
                .col(integer("kind"))
                .col(boolean("confirmed"))
                .col(uuid_null("approver_id"))
                .col(text_null("order_number"))
                .col(date_null("order_date"))
                .col(text_null("order_text"))
                .col(boolean("unit_rooms_only"))
                .col(integer("adult_access"))
                .col(time("create_time"))
                .col(time_null("end_time"))
                .col(text_null("end_cause"))
                .col(boolean("ended_by_order"))
                .foreign_key(&mut of_member("guardianship", "guardian_id"))
                .foreign_key(&mut of_member("guardianship", "child_id"))
                .to_owned(),
            keyed("duty", "duty_id")
                .col(uuid("member_id"))
                .col(integer("kind"))
                .col(uuid_null("unit_id"))
                .col(boolean("pupils_only"))
                .col(text("order_number"))
                .col(date("order_date"))
                .col(text("order_text"))
                .col(time("create_time"))
                .col(date("until_date"))
                .col(time("due_time"))
                .col(time_null("end_time"))
                .col(text_null("end_cause"))
                .foreign_key(&mut of_member("duty", "member_id"))
                .to_owned(),
            table("duty_pupil")
                .col(uuid("org_id"))
                .col(uuid("duty_id"))
                .col(uuid("pupil_id"))
                .primary_key(Index::create().col("org_id").col("duty_id").col("pupil_id"))
                .foreign_key(&mut of_member("duty_pupil", "pupil_id"))
                .to_owned(),
            keyed("verification_request", "member_id")
                .col(text("evidence"))
                .col(time("create_time"))
                .foreign_key(&mut of_member("verification_request", "member_id"))
                .to_owned(),
            keyed("acting_head", "acting_head_id")
                .col(uuid("member_id"))
                .col(text("order_number"))
                .col(date("order_date"))
                .col(text("order_text"))
                .col(uuid("appointer_id"))
                .col(time("create_time"))
                .col(date("until_date"))
                .col(time("due_time"))
                .col(time_null("end_time"))
                .col(text_null("end_cause"))
                .foreign_key(&mut of_member("acting_head", "member_id"))
                .to_owned(),
            keyed("verification_end", "member_id")
                .col(date("last_date"))
                .col(time("due_time"))
                .col(text("cause"))
                .col(uuid("announcer_id"))
                .col(time("create_time"))
                .foreign_key(&mut of_member("verification_end", "member_id"))
                .to_owned(),
            keyed("role_change", "role_change_id")
                .col(uuid("member_id"))
                .col(integer("lost_roles"))
                .col(boolean("badge"))
                .col(boolean("badge_decided"))
                .col(big_integer("revision"))
                .col(uuid("author_id"))
                .col(time("create_time"))
                .col(time_null("close_time"))
                .col(uuid_null("undoer_id"))
                .foreign_key(&mut of_member("role_change", "member_id"))
                .to_owned(),
            table("role_change_fact")
                .col(uuid("org_id"))
                .col(uuid("role_change_id"))
                .col(integer("kind"))
                .col(uuid("object_id"))
                .col(time("create_time"))
                .primary_key(
                    Index::create()
                        .col("org_id")
                        .col("role_change_id")
                        .col("kind")
                        .col("object_id"),
                )
                .to_owned(),
            table("former_name")
                .col(uuid("org_id"))
                .col(uuid("member_id"))
                .col(big_integer("revision"))
                .col(text("full_name"))
                .col(time("end_time"))
                .col(uuid_null("corrector_id"))
                .primary_key(Index::create().col("org_id").col("member_id").col("revision"))
                .foreign_key(&mut of_member("former_name", "member_id"))
                .to_owned(),
            keyed("suspension", "suspension_id")
                .col(uuid("member_id"))
                .col(integer_null("roles"))
                .col(time("create_time"))
                .col(uuid_null("suspender_id"))
                .col(text("cause"))
                .col(time_null("confirm_time"))
                .col(uuid_null("confirmer_id"))
                .col(time_null("end_time"))
                .col(uuid_null("ender_id"))
                .col(text_null("end_cause"))
                .foreign_key(&mut of_member("suspension", "member_id"))
                .to_owned(),
            keyed("relation_limit", "relation_limit_id")
                .col(uuid("guardianship_id"))
                .col(uuid("guardian_id"))
                .col(uuid("child_id"))
                .col(integer("limits"))
                .col(boolean("provisional"))
                .col(date_null("until_date"))
                .col(text_null("order_number"))
                .col(date_null("order_date"))
                .col(text_null("order_text"))
                .col(text("cause"))
                .col(uuid("author_id"))
                .col(time("create_time"))
                .col(time_null("end_time"))
                .foreign_key(&mut of_member("relation_limit", "guardian_id"))
                .foreign_key(&mut of_member("relation_limit", "child_id"))
                .to_owned(),
            keyed("child_record", "member_id")
                .col(date_null("birth_date"))
                .col(boolean("protected"))
                .col(text_null("order_number"))
                .col(date_null("order_date"))
                .col(text_null("order_text"))
                .foreign_key(&mut of_member("child_record", "member_id"))
                .to_owned(),
            keyed("service_account", "service_account_id")
                .col(text("display_name"))
                .col(text("permissions"))
                .col(time("create_time"))
                .col(time_null("revoke_time"))
                .to_owned(),
            keyed("service_account_key", "key_id")
                .col(uuid("service_account_id"))
                .col(var_binary("key_digest", 32))
                .col(time("create_time"))
                .col(time_null("last_use_time"))
                .col(time_null("revoke_time"))
                .foreign_key(
                    ForeignKey::create()
                        .name("service_account_key_account")
                        .from("service_account_key", ("org_id", "service_account_id"))
                        .to("service_account", ("org_id", "service_account_id")),
                )
                .to_owned(),
            table("outbox_message")
                .col(uuid("message_id").primary_key())
                .col(text("recipient"))
                .col(text("text"))
                .col(time("create_time"))
                .to_owned(),
        ];
        for table in tables {
            manager.create_table(table).await?;
        }
        let conn = manager.get_connection();
        for sql in [
            "CREATE INDEX session_account ON session (account_id)",
            "CREATE INDEX account_address_account ON account_address (account_id)",
            "CREATE INDEX sign_in_flow_expiry ON sign_in_flow (expire_time)",
            // A person is one member of an organization, also after leaving.
            "CREATE UNIQUE INDEX member_account ON member (account_id, org_id) WHERE account_id IS NOT NULL",
            "CREATE INDEX released_profile_time ON released_profile (release_time)",
            // An account has one pending request by an invitation.
            "CREATE UNIQUE INDEX join_request_pending ON join_request (org_id, invitation_id, account_id) WHERE state = 1",
            "CREATE INDEX join_request_unit ON join_request (org_id, state, unit_id)",
            "CREATE INDEX join_request_account ON join_request (account_id)",
            "CREATE INDEX join_request_expiry ON join_request (create_time) WHERE state = 1",
            "CREATE INDEX join_request_decided ON join_request (decide_time)",
            "CREATE INDEX appointment_phone ON appointment (phone)",
            "CREATE UNIQUE INDEX assignment_once ON assignment (org_id, member_id, unit_id, kind) WHERE end_time IS NULL",
            "CREATE INDEX due_ending_due_time ON due_ending (due_time)",
            "CREATE INDEX assignment_unit ON assignment (org_id, unit_id)",
            "CREATE UNIQUE INDEX enrollment_once ON enrollment (org_id, member_id, unit_id) WHERE end_time IS NULL",
            "CREATE INDEX enrollment_unit ON enrollment (org_id, unit_id)",
            "CREATE UNIQUE INDEX guardianship_once ON guardianship (org_id, guardian_id, child_id) WHERE end_time IS NULL",
            "CREATE INDEX guardianship_child ON guardianship (org_id, child_id)",
            "CREATE INDEX member_name ON member (org_id, name_key)",
            "CREATE INDEX duty_member ON duty (org_id, member_id) WHERE end_time IS NULL",
            "CREATE INDEX duty_due ON duty (org_id, due_time) WHERE end_time IS NULL",
            "CREATE UNIQUE INDEX acting_head_once ON acting_head (org_id) WHERE end_time IS NULL",
            "CREATE INDEX role_change_member ON role_change (org_id, member_id)",
            "CREATE INDEX suspension_member ON suspension (org_id, member_id) WHERE end_time IS NULL",
            "CREATE INDEX suspension_undecided ON suspension (suspension_id) WHERE end_time IS NULL AND confirm_time IS NULL",
            // One set of limits by an order and one provisional set are in force between two people.
            "CREATE UNIQUE INDEX relation_limit_once ON relation_limit (org_id, guardian_id, child_id, provisional) \
             WHERE end_time IS NULL",
            "CREATE INDEX relation_limit_child ON relation_limit (org_id, child_id)",
            "CREATE INDEX child_record_birth_date ON child_record (org_id, birth_date)",
            // The holder of a key does not know the organization, so that the index is unique across
            // organizations.
            "CREATE UNIQUE INDEX service_account_key_digest ON service_account_key (key_digest)",
            "CREATE INDEX service_account_key_account ON service_account_key (org_id, service_account_id) \
             WHERE revoke_time IS NULL",
        ] {
            conn.execute_unprepared(sql).await?;
        }
        Ok(())
    }
}
