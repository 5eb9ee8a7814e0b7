//! Rules for changing roles and verifying teachers.
use parta_access::Decision;
use parta_roster::MemberContext;

/// Whether the caller may change the roles of members.
pub(crate) fn administer(caller: &MemberContext) -> Decision {
    crate::member_records::administer(caller)
}

/// Whether the caller may verify teachers and withdraw their verification.
pub(crate) fn verify(caller: &MemberContext) -> Decision {
    crate::member_records::manage(caller)
}
