//! Rules for administering external systems.
use parta_access::Decision;
use parta_roster::MemberContext;

/// Whether the caller may create, revoke and list service accounts and their keys.
pub(crate) fn administer(caller: &MemberContext) -> Decision {
    crate::member_records::administer(caller)
}
