//! Rows of the service's tables.

macro_rules! table {
    ($module:ident, $name:literal, { $($(#[$meta:meta])* $field:ident: $type:ty),* $(,)? }) => {
        pub(crate) mod $module {
            use sea_orm::entity::prelude::*;

            #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
            #[sea_orm(table_name = $name)]
            pub struct Model {
                $($(#[$meta])* pub $field: $type,)*
            }

            #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
            pub enum Relation {}

            impl ActiveModelBehavior for ActiveModel {}
        }
    };
}

table!(account, "account", {
    #[sea_orm(primary_key, auto_increment = false)]
    account_id: Uuid,
    full_name: String,
    create_time: DateTimeUtc,
});
table!(account_address, "account_address", {
    #[sea_orm(primary_key, auto_increment = false)]
    address: String,
    #[sea_orm(primary_key, auto_increment = false)]
    account_id: Uuid,
    verify_time: DateTimeUtc,
});
table!(address_counter, "address_counter", {
    #[sea_orm(primary_key, auto_increment = false)]
    address: String,
    send_time: Option<DateTimeUtc>,
    hour_time: DateTimeUtc,
    hour_sends: i32,
    day_time: DateTimeUtc,
    day_sends: i32,
    failures: i32,
    block_time: Option<DateTimeUtc>,
});
table!(flow, "sign_in_flow", {
    #[sea_orm(primary_key, auto_increment = false)]
    flow_id: Uuid,
    address: String,
    tries: i32,
    create_time: DateTimeUtc,
    expire_time: DateTimeUtc,
    verify_time: Option<DateTimeUtc>,
    session_id: Option<Uuid>,
});
table!(session, "session", {
    #[sea_orm(primary_key, auto_increment = false)]
    session_id: Uuid,
    account_id: Uuid,
    generation: i64,
    refresh_request: Option<Uuid>,
    create_time: DateTimeUtc,
    refresh_time: DateTimeUtc,
    end_time: Option<DateTimeUtc>,
});
table!(join_flow, "join_flow", {
    #[sea_orm(primary_key, auto_increment = false)]
    flow_id: Uuid,
    account_id: Uuid,
    create_time: DateTimeUtc,
});
table!(member, "member", {
    #[sea_orm(primary_key, auto_increment = false)]
    org_id: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    member_id: Uuid,
    account_id: Option<Uuid>,
    full_name: String,
    state: i32,
    roles: i32,
    teacher_verified: bool,
    evidence: Option<String>,
    verifier_id: Option<Uuid>,
    invitation_id: Option<Uuid>,
    create_time: DateTimeUtc,
    leave_time: Option<DateTimeUtc>,
    revision: i64,
});
table!(admission, "admission", {
    #[sea_orm(primary_key, auto_increment = false)]
    org_id: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    invitation_id: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    account_id: Uuid,
    member_id: Uuid,
    create_time: DateTimeUtc,
});
table!(appointment, "appointment", {
    #[sea_orm(primary_key, auto_increment = false)]
    org_id: Uuid,
    application_id: Uuid,
    phone: String,
    full_name: String,
    organization_display_name: String,
    create_time: DateTimeUtc,
    claim_account: Option<Uuid>,
    claim_time: Option<DateTimeUtc>,
});
table!(assignment, "assignment", {
    #[sea_orm(primary_key, auto_increment = false)]
    org_id: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    assignment_id: Uuid,
    member_id: Uuid,
    unit_id: Uuid,
    kind: i32,
    create_time: DateTimeUtc,
    expire_time: Option<DateTimeUtc>,
    end_time: Option<DateTimeUtc>,
});
table!(enrollment, "enrollment", {
    #[sea_orm(primary_key, auto_increment = false)]
    org_id: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    enrollment_id: Uuid,
    member_id: Uuid,
    unit_id: Uuid,
    create_time: DateTimeUtc,
    end_time: Option<DateTimeUtc>,
});
table!(service_account, "service_account", {
    #[sea_orm(primary_key, auto_increment = false)]
    org_id: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    service_account_id: Uuid,
    display_name: String,
    permissions: String,
    key_digest: Vec<u8>,
    create_time: DateTimeUtc,
    revoke_time: Option<DateTimeUtc>,
});
table!(outbox, "outbox_message", {
    #[sea_orm(primary_key, auto_increment = false)]
    message_id: Uuid,
    recipient: String,
    text: String,
    create_time: DateTimeUtc,
});
table!(roster_import, "roster_import", {
    #[sea_orm(primary_key, auto_increment = false)]
    org_id: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    import_id: Uuid,
    state: i32,
    one_roster_version: String,
    /// `RosterImportCounts` as protobuf.
    planned: Vec<u8>,
    done: Vec<u8>,
    change_count: i64,
    problem_count: i32,
    mass_removal: bool,
    /// Labels by the source's class ids, as JSON.
    classes: String,
    /// Rows of the difference that are carried out.
    position: i64,
    create_time: DateTimeUtc,
    start_time: Option<DateTimeUtc>,
    finish_time: Option<DateTimeUtc>,
    revision: i64,
});
table!(roster_import_change, "roster_import_change", {
    #[sea_orm(primary_key, auto_increment = false)]
    org_id: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    import_id: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    seq: i64,
    kind: i16,
    source_key: String,
    other_key: String,
    person: String,
    unit_label: String,
    before: String,
    after: String,
    value: i32,
});
table!(roster_import_problem, "roster_import_problem", {
    #[sea_orm(primary_key, auto_increment = false)]
    org_id: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    import_id: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    seq: i64,
    file: String,
    line: i64,
    column_name: String,
    description: String,
    fatal: bool,
});
table!(roster_person, "roster_person", {
    #[sea_orm(primary_key, auto_increment = false)]
    org_id: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    source_key: String,
    member_id: Uuid,
});
table!(roster_class, "roster_class", {
    #[sea_orm(primary_key, auto_increment = false)]
    org_id: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    source_key: String,
    label: String,
});
