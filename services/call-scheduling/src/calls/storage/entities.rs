//! Rows of the service's tables.

pub(super) mod call {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "call")]
    pub(crate) struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub(crate) org_id: Uuid,
        #[sea_orm(primary_key, auto_increment = false)]
        pub(crate) id: Uuid,
        pub(crate) unit_id: Uuid,
        pub(crate) of_class: bool,
        pub(crate) title: String,
        pub(crate) kind: i16,
        pub(crate) format: i16,
        pub(crate) room: String,
        pub(crate) organizer_id: Uuid,
        pub(crate) start_civil_time: DateTime,
        pub(crate) time_zone: String,
        pub(crate) duration_minutes: i32,
        pub(crate) interval_weeks: Option<i16>,
        pub(crate) until_date: Option<Date>,
        pub(crate) occurrence_count: Option<i32>,
        pub(crate) first_start_time: DateTimeUtc,
        pub(crate) last_end_time: DateTimeUtc,
        pub(crate) announced: bool,
        pub(crate) create_time: DateTimeUtc,
        pub(crate) cancel_time: Option<DateTimeUtc>,
        pub(crate) revision: i64,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub(crate) enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

pub(super) mod participant {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "call_participant")]
    pub(crate) struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub(crate) org_id: Uuid,
        #[sea_orm(primary_key, auto_increment = false)]
        pub(crate) call_id: Uuid,
        #[sea_orm(primary_key, auto_increment = false)]
        pub(crate) member_id: Uuid,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub(crate) enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

pub(super) mod occurrence {
    use sea_orm::entity::prelude::*;

    /// What is known of one occurrence beyond the rule: it was cancelled, or staff has come.
    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "occurrence")]
    pub(crate) struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub(crate) org_id: Uuid,
        #[sea_orm(primary_key, auto_increment = false)]
        pub(crate) call_id: Uuid,
        #[sea_orm(primary_key, auto_increment = false)]
        pub(crate) start_time: DateTimeUtc,
        pub(crate) cancel_time: Option<DateTimeUtc>,
        pub(crate) staff_arrive_time: Option<DateTimeUtc>,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub(crate) enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}
