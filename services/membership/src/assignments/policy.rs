//! Rules for giving and ending assignments.
use parta_access::Decision;
use parta_roster::MemberContext;

/// Whether the caller may give assignments and end them.
pub(crate) fn manage(caller: &MemberContext) -> Decision {
    crate::member_records::manage(caller)
}
