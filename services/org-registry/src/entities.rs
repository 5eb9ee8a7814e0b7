pub(crate) mod application {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
    #[sea_orm(table_name = "application")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub application_id: Uuid,
        pub state: i32,
        pub organization_name: String,
        pub kind: i32,
        pub region: String,
        pub ogrn: String,
        pub kpp: String,
        pub time_zone: String,
        pub head_full_name: String,
        pub administrator_full_name: String,
        pub administrator_email: String,
        pub administrator_phone: String,
        pub order_file_name: String,
        pub order_content_type: String,
        pub order_size_bytes: i64,
        pub order_sha256: String,
        pub org_id: Option<Uuid>,
        pub create_time: DateTimeUtc,
        pub revision: i64,
    }
    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}
    impl ActiveModelBehavior for ActiveModel {}
}

pub(crate) mod step {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
    #[sea_orm(table_name = "application_step")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub application_id: Uuid,
        #[sea_orm(primary_key, auto_increment = false)]
        pub number: i64,
        pub state: i32,
        pub actor: String,
        pub reason: String,
        pub change_time: DateTimeUtc,
    }
    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}
    impl ActiveModelBehavior for ActiveModel {}
}

pub(crate) mod chunk {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
    #[sea_orm(table_name = "application_chunk")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub application_id: Uuid,
        #[sea_orm(primary_key, auto_increment = false)]
        pub number: i64,
        #[sea_orm(column_type = "Blob")]
        pub bytes: Vec<u8>,
    }
    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}
    impl ActiveModelBehavior for ActiveModel {}
}

pub(crate) mod organization {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
    #[sea_orm(table_name = "organization")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub org_id: Uuid,
        pub display_name: String,
        pub kind: i32,
        pub region: String,
        pub time_zone: String,
        pub ogrn: String,
        pub kpp: String,
        pub head_full_name: String,
        pub verification_required: bool,
        pub parent_inviters_class_staff: bool,
        pub school_channel_open_to_families: bool,
        pub unused_after_seconds: i64,
        pub policies_version: i64,
        pub create_time: DateTimeUtc,
        pub update_time: DateTimeUtc,
        pub revision: i64,
    }
    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}
    impl ActiveModelBehavior for ActiveModel {}
}

pub(crate) mod unit {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
    #[sea_orm(table_name = "unit")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub org_id: Uuid,
        #[sea_orm(primary_key, auto_increment = false)]
        pub unit_id: Uuid,
        pub kind: i32,
        pub label: String,
        pub label_key: String,
        pub roster_import_id: String,
        pub source_key: String,
        pub create_time: DateTimeUtc,
        pub archive_time: Option<DateTimeUtc>,
        pub revision: i64,
    }
    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}
    impl ActiveModelBehavior for ActiveModel {}
}
