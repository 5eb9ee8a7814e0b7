//! Rows of the tables of chats, participants and entries.

pub(crate) mod chat {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "chat")]
    pub(crate) struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub(crate) org_id: Uuid,
        #[sea_orm(primary_key, auto_increment = false)]
        pub(crate) chat_id: Uuid,
        pub(crate) kind: i16,
        pub(crate) unit_id: Option<Uuid>,
        /// Unique in the organization: the rule of a derived chat or the pair of a personal one.
        pub(crate) unique_key: Option<String>,
        /// The label of the class, or the title of a custom chat.
        pub(crate) label: String,
        pub(crate) create_time: DateTimeUtc,
        pub(crate) archive_time: Option<DateTimeUtc>,
        pub(crate) head_seq: i64,
        /// Incremented with every change of participants, so that a change and a message conflict on this
        /// row.
        pub(crate) audience_version: i64,
        /// Entries up to this sequence number are in the archive.
        pub(crate) archived_seq: i64,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub(crate) enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

pub(crate) mod participant {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "participant")]
    pub(crate) struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub(crate) org_id: Uuid,
        #[sea_orm(primary_key, auto_increment = false)]
        pub(crate) chat_id: Uuid,
        #[sea_orm(primary_key, auto_increment = false)]
        pub(crate) member_id: Uuid,
        pub(crate) joined_seq: i64,
        /// The sequence number of the leaving; `None` while the member participates.
        pub(crate) left_seq: Option<i64>,
        pub(crate) read_seq: i64,
        pub(crate) may_post: bool,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub(crate) enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

pub(crate) mod entry {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "entry")]
    pub(crate) struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub(crate) org_id: Uuid,
        #[sea_orm(primary_key, auto_increment = false)]
        pub(crate) chat_id: Uuid,
        #[sea_orm(primary_key, auto_increment = false)]
        pub(crate) seq: i64,
        pub(crate) entry_id: Uuid,
        pub(crate) kind: i16,
        /// The sender of a message; `None` for joinings and leavings.
        pub(crate) sender: Option<Uuid>,
        pub(crate) request_id: Option<Uuid>,
        /// The keyed digest of the request, which distinguishes a repetition from another request with the
        /// same id.
        pub(crate) digest: Option<Vec<u8>>,
        pub(crate) body: Option<String>,
        /// The member who joined or left.
        pub(crate) subject: Option<Uuid>,
        /// The service that wrote for the sender.
        pub(crate) service: Option<String>,
        pub(crate) create_time: DateTimeUtc,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub(crate) enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}
