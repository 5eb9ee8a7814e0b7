//! Rules for importing rosters.
use parta_access::Decision;
use parta_roster::MemberContext;

/// Whether the caller may check, start and read imports.
pub(crate) fn import(caller: &MemberContext) -> Decision {
    crate::member_records::manage(caller)
}
