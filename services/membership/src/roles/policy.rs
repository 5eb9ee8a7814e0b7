//! Rules for changing roles and verifying teachers.
use parta_access::Decision;
use parta_ids::MemberId;
use parta_roster::MemberContext;

/// Whether the caller may change the roles of members.
pub(crate) fn administer(caller: &MemberContext) -> Decision {
    crate::member_records::administer(caller)
}

/// Whether the caller, who changed the roles of this member, may learn it again. The act may have taken the
/// own right away.
pub(super) fn learn_change(caller: &MemberContext, changed: MemberId) -> Decision {
    if caller.member_id == changed {
        return Decision::Allow;
    }
    administer(caller)
}

/// Whether the caller may verify teachers and withdraw their verification.
pub(crate) fn verify(caller: &MemberContext) -> Decision {
    crate::member_records::manage(caller)
}
