//! The tables of the audit log.
use parta_database::table;

table!(pub(crate) entry, "audit_entry", {
    #[sea_orm(primary_key, auto_increment = false)]
    org_id: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    entry_id: Uuid,
    occur_time: DateTimeUtc,
    rpc: String,
    actor: String,
    on_behalf_of: Option<String>,
    object: String,
    request_id: Option<Uuid>,
    seq: Option<i64>,
    prev_hash: Option<Vec<u8>>,
    hash: Option<Vec<u8>>,
});

table!(pub(crate) head, "audit_head", {
    #[sea_orm(primary_key, auto_increment = false)]
    org_id: Uuid,
    seq: i64,
    hash: Vec<u8>,
});
