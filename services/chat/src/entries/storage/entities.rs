//! Rows of the service's own tables.

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
        /// By what there is one of it: the rule of a derived chat, the pair of a personal one.
        pub(crate) unique_key: Option<String>,
        /// The class's label of a class chat, the title given of a custom one.
        pub(crate) label: String,
        pub(crate) create_time: DateTimeUtc,
        pub(crate) archive_time: Option<DateTimeUtc>,
        pub(crate) head_seq: i64,
        /// Rises with every change of participants, so that a change waits for a send under way and the other way round.
        pub(crate) audience_version: i64,
        /// The entries up to this place lie in the archive.
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
        /// The entry of leaving; none while in the chat.
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
        /// Who wrote; none for what the service notes by itself.
        pub(crate) sender: Option<Uuid>,
        pub(crate) request_id: Option<Uuid>,
        /// Keyed digest of the request, to tell a repetition from another act.
        pub(crate) digest: Option<Vec<u8>>,
        pub(crate) body: Option<String>,
        /// Whom it is about: who came in or left.
        pub(crate) subject: Option<Uuid>,
        /// The service that wrote for the sender.
        pub(crate) service: Option<String>,
        pub(crate) create_time: DateTimeUtc,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub(crate) enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}
