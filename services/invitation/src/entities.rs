//! Rows of the service's tables.

pub(crate) mod invitation {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "invitation")]
    pub(crate) struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub(crate) org_id: Uuid,
        #[sea_orm(primary_key, auto_increment = false)]
        pub(crate) id: Uuid,
        pub(crate) role: String,
        pub(crate) unit_id: Option<Uuid>,
        pub(crate) child_id: Option<Uuid>,
        pub(crate) claim_member_id: Option<Uuid>,
        pub(crate) max_uses: i32,
        pub(crate) use_count: i32,
        pub(crate) recipient_label: String,
        pub(crate) issuer_id: Option<Uuid>,
        pub(crate) roster_import_id: Option<Uuid>,
        pub(crate) token_digest: Vec<u8>,
        pub(crate) code_digest: Vec<u8>,
        pub(crate) create_time: DateTimeUtc,
        pub(crate) expire_time: DateTimeUtc,
        pub(crate) last_use_time: Option<DateTimeUtc>,
        pub(crate) revoke_time: Option<DateTimeUtc>,
        pub(crate) revision: i64,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub(crate) enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

pub(crate) mod reservation {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "reservation")]
    pub(crate) struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub(crate) org_id: Uuid,
        #[sea_orm(primary_key, auto_increment = false)]
        pub(crate) id: Uuid,
        pub(crate) invitation_id: Uuid,
        pub(crate) flow_id: Uuid,
        pub(crate) stage: String,
        pub(crate) member_id: Option<Uuid>,
        pub(crate) refusal: Option<String>,
        pub(crate) create_time: DateTimeUtc,
        pub(crate) lease_time: DateTimeUtc,
        pub(crate) finish_time: Option<DateTimeUtc>,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub(crate) enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}
