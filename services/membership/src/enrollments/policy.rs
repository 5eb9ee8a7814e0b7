//! Rules for moving pupils.
use parta_access::Decision;
use parta_roster::MemberContext;

/// Whether the caller may enroll pupils and transfer them.
pub(crate) fn manage(caller: &MemberContext) -> Decision {
    crate::member_records::manage(caller)
}
