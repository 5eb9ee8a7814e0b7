//! Rows of the tables of chats, participants and entries.
use parta_database::table;

table!(pub(crate) chat, "chat", {
    #[sea_orm(primary_key, auto_increment = false)]
    org_id: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    chat_id: Uuid,
    kind: i16,
    unit_id: Option<Uuid>,
    /// Unique in the organization: the rule of a derived chat or the pair of a personal one.
    unique_key: Option<String>,
    /// The label of the class, or the title of a custom chat.
    label: String,
    create_time: DateTimeUtc,
    archive_time: Option<DateTimeUtc>,
    head_seq: i64,
    /// Incremented with every change of participants, so that a change and a message conflict on this
    /// row.
    audience_version: i64,
    /// Entries up to this sequence number are in the archive.
    archived_seq: i64,
    /// Whether nobody writes, because pupils participate and no cleared adult does or, in a chat with named
    /// participants, because nobody is responsible. Changed together with the participants.
    unsupervised: bool,
    /// The responsible member of a chat with named participants.
    responsible_id: Option<Uuid>,
    /// The deputy of that member.
    deputy_id: Option<Uuid>,
    /// The unit whose leader becomes responsible if the deputy may not be.
    ground_unit_id: Option<Uuid>,
});

table!(pub(crate) participant, "participant", {
    #[sea_orm(primary_key, auto_increment = false)]
    org_id: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    chat_id: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    member_id: Uuid,
    joined_seq: i64,
    /// The sequence number of the leaving; `None` while the member participates.
    left_seq: Option<i64>,
    read_seq: i64,
    may_post: bool,
    kind: i16,
    /// The member reads the entries after this sequence number. It follows from the three columns below and
    /// is stored, so that reads and sends look at one number only (F22).
    visible_after: i64,
    /// Since when the member reads by the grounds of the staff; `None` if none of them opens the past.
    staff_since: Option<DateTimeUtc>,
    /// Since when the member reads by the grounds of a family; `None` if none of them opens the past.
    family_since: Option<DateTimeUtc>,
    /// The grounds of a family open no entry up to this one, because the member returned after it; 0 if the
    /// member has never left.
    returned_after: i64,
});

table!(pub(crate) entry, "entry", {
    #[sea_orm(primary_key, auto_increment = false)]
    org_id: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    chat_id: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    seq: i64,
    entry_id: Uuid,
    kind: i16,
    /// The sender of a message; `None` for joinings and leavings.
    sender: Option<Uuid>,
    request_id: Option<Uuid>,
    /// The keyed digest of the request, which distinguishes a repetition from another request with the
    /// same id.
    digest: Option<Vec<u8>>,
    body: Option<String>,
    /// The member who joined or left.
    subject: Option<Uuid>,
    /// The service that wrote for the sender.
    service: Option<String>,
    create_time: DateTimeUtc,
});
