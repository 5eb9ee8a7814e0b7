//! Rows of the tables of the feature.
use parta_database::table;

table!(pub(super) call, "call", {
    #[sea_orm(primary_key, auto_increment = false)]
    org_id: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    id: Uuid,
    unit_id: Uuid,
    of_class: bool,
    title: String,
    kind: i16,
    format: i16,
    room: String,
    organizer_id: Uuid,
    start_civil_time: DateTime,
    time_zone: String,
    duration_minutes: i32,
    interval_weeks: Option<i16>,
    until_date: Option<Date>,
    occurrence_count: Option<i32>,
    first_start_time: DateTimeUtc,
    last_end_time: DateTimeUtc,
    announced: bool,
    create_time: DateTimeUtc,
    cancel_time: Option<DateTimeUtc>,
    /// The reason why the call was canceled; set together with the time.
    cancel_reason: Option<i16>,
    revision: i64,
});

table!(pub(super) participant, "call_participant", {
    #[sea_orm(primary_key, auto_increment = false)]
    org_id: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    call_id: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    member_id: Uuid,
});

table!(pub(super) occurrence, "occurrence", {
    #[sea_orm(primary_key, auto_increment = false)]
    org_id: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    call_id: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    start_time: DateTimeUtc,
    cancel_time: Option<DateTimeUtc>,
});
