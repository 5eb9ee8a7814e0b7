//! The tables of the projection. Every key begins with the organization. No table has the time at which a
//! fact ends: only membership compares it with the clock, and an end is an event.
use parta_database::table;

table!(pub(crate) organization, "roster_organization", {
    #[sea_orm(primary_key, auto_increment = false)]
    org_id: Uuid,
    display_name: String,
    kind: i32,
    time_zone: String,
    verification_required: bool,
    parent_inviters_class_staff: bool,
    school_channel_open_to_families: bool,
    unused_after_seconds: i64,
    history_for_newcomers: i32,
    seen: bool,
});

table!(pub(crate) unit, "roster_unit", {
    #[sea_orm(primary_key, auto_increment = false)]
    org_id: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    unit_id: Uuid,
    kind: i32,
    label: String,
    archived: bool,
    archive_time: Option<DateTimeUtc>,
    seen: bool,
});

table!(pub(crate) member, "roster_member", {
    #[sea_orm(primary_key, auto_increment = false)]
    org_id: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    member_id: Uuid,
    state: i32,
    roles: i32,
    suspended_roles: i32,
    teacher_verified: bool,
    release_count: i32,
    removed_for_cause: bool,
    acting_head: bool,
    seen: bool,
});

table!(pub(crate) suspension, "roster_suspension", {
    #[sea_orm(primary_key, auto_increment = false)]
    org_id: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    suspension_id: Uuid,
    member_id: Uuid,
    roles: i32,
    seen: bool,
});

table!(pub(crate) duty, "roster_duty", {
    #[sea_orm(primary_key, auto_increment = false)]
    org_id: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    duty_id: Uuid,
    member_id: Uuid,
    kind: i32,
    unit_id: Option<Uuid>,
    pupils_only: bool,
    begin_time: Option<DateTimeUtc>,
    seen: bool,
});

table!(pub(crate) duty_pupil, "roster_duty_pupil", {
    #[sea_orm(primary_key, auto_increment = false)]
    org_id: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    duty_id: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    pupil_id: Uuid,
});

table!(pub(crate) assignment, "roster_assignment", {
    #[sea_orm(primary_key, auto_increment = false)]
    org_id: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    assignment_id: Uuid,
    member_id: Uuid,
    unit_id: Uuid,
    class_teacher: bool,
    substitution: bool,
    begin_time: Option<DateTimeUtc>,
    seen: bool,
});

table!(pub(crate) enrollment, "roster_enrollment", {
    #[sea_orm(primary_key, auto_increment = false)]
    org_id: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    enrollment_id: Uuid,
    member_id: Uuid,
    unit_id: Uuid,
    begin_time: Option<DateTimeUtc>,
    seen: bool,
});

table!(pub(crate) guardianship, "roster_guardianship", {
    #[sea_orm(primary_key, auto_increment = false)]
    org_id: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    guardianship_id: Uuid,
    guardian_id: Uuid,
    child_id: Uuid,
    confirmed: bool,
    unit_rooms_only: bool,
    begin_time: Option<DateTimeUtc>,
    seen: bool,
});

table!(pub(crate) relation_limit, "roster_relation_limit", {
    #[sea_orm(primary_key, auto_increment = false)]
    org_id: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    guardian_id: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    child_id: Uuid,
    limits: i32,
    seen: bool,
});

table!(pub(crate) protection, "roster_protection", {
    #[sea_orm(primary_key, auto_increment = false)]
    org_id: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    member_id: Uuid,
    seen: bool,
});
