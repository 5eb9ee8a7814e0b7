//! Rules for changing roles and verifying teachers.
use std::collections::BTreeSet;

use parta_access::{Decision, PermissionRule, PrincipalKind};
use parta_ids::MemberId;
use parta_roster::{MemberContext, Role};

use crate::error::Error;

/// Whether the caller may change the roles of this member: an administrator of anybody; the head and the
/// deputies of an administrator, for whom they are the second person (F6).
pub(crate) fn administer(caller: &MemberContext, member: &MemberContext) -> Decision {
    let stands_in = caller.is_administration() && member.is_administrator();
    Decision::allow_if(
        caller.is_administrator() || stands_in,
        "Only an administrator can change roles; the head and the deputies can change those of an administrator.",
    )
}

/// Whether the caller may add these roles to a member and take these away. Only an administrator makes and
/// removes administrators, heads and deputies, and nobody gives a role to oneself.
pub(super) fn change(
    caller: &MemberContext,
    member: MemberId,
    added: &BTreeSet<Role>,
    taken: &BTreeSet<Role>,
) -> Result<(), Error> {
    let leading = |role: &Role| matches!(role, Role::Administrator | Role::Head | Role::Deputy);
    if !caller.is_administrator() && added.union(taken).any(leading) {
        return Err(parta_status::permission_denied(
            "Only an administrator can make and remove administrators, heads and deputies.",
        )
        .into());
    }
    if caller.member_id == member && !added.is_empty() {
        return Err(Error::second_person_required());
    }
    Ok(())
}

/// Whether the caller may verify teachers and withdraw their verification.
pub(crate) fn verify(caller: &MemberContext) -> Decision {
    crate::member_records::manage(caller)
}

/// Whether the caller may request their own verification.
pub(crate) fn request_verification(caller: &MemberContext) -> Decision {
    Decision::allow_if(
        caller.is_active() && caller.roles.contains(&Role::Teacher),
        "Only a teacher can ask for their own verification.",
    )
}

/// Whether the caller may list requests for verification, and announced ends of verifications; a teacher gets
/// their own only.
pub(crate) fn list_requests(caller: &MemberContext) -> Decision {
    Decision::allow_if(
        verify(caller).is_allowed() || request_verification(caller).is_allowed(),
        "Only the administration can list requests and ends of verifications, and a teacher their own.",
    )
}

/// Whether the caller may list the changes of roles.
pub(crate) fn list_changes(caller: &MemberContext) -> Decision {
    crate::member_records::manage(caller)
}

/// Whether a sample of this kind may change the roles of the sample pupil.
fn administers_sample(kind: PrincipalKind) -> bool {
    let pupil = MemberContext::sample(PrincipalKind::Pupil);
    let samples = MemberContext::sample(kind).zip(pupil);
    samples.is_some_and(|(facts, pupil)| administer(&facts, &pupil).is_allowed())
}

/// The feature's rows of the permission matrix.
pub(crate) fn rules() -> Vec<PermissionRule> {
    let verifies = |kind| MemberContext::sample(kind).is_some_and(|facts| verify(&facts).is_allowed());
    let requests =
        |kind| MemberContext::sample(kind).is_some_and(|facts| request_verification(&facts).is_allowed());
    let lists = |kind| MemberContext::sample(kind).is_some_and(|facts| list_requests(&facts).is_allowed());
    vec![
        PermissionRule::own(
            "parta.membership.v1.MemberService/ChangeMemberRoles",
            administers_sample,
        ),
        PermissionRule::own(
            "parta.membership.v1.RoleService/PreviewRoleChange",
            administers_sample,
        ),
        PermissionRule::own(
            "parta.membership.v1.RoleService/UndoRoleChange",
            administers_sample,
        ),
        PermissionRule::own(
            "parta.membership.v1.RoleService/AnnounceVerificationEnd",
            verifies,
        ),
        PermissionRule::own("parta.membership.v1.RoleService/CancelVerificationEnd", verifies),
        PermissionRule::own("parta.membership.v1.RoleService/ListVerificationEnds", lists),
        PermissionRule::own("parta.membership.v1.RoleService/ListRoleChanges", |kind| {
            MemberContext::sample(kind).is_some_and(|facts| list_changes(&facts).is_allowed())
        }),
        PermissionRule::own("parta.membership.v1.MemberService/VerifyTeacher", verifies),
        PermissionRule::own("parta.membership.v1.MemberService/VerifyTeachers", verifies),
        PermissionRule::own("parta.membership.v1.MemberService/RequestVerification", requests),
        PermissionRule::own("parta.membership.v1.MemberService/RefuseVerification", verifies),
        PermissionRule::own(
            "parta.membership.v1.MemberService/ListVerificationRequests",
            lists,
        ),
        PermissionRule::own(
            "parta.membership.v1.MemberService/WithdrawTeacherVerification",
            verifies,
        ),
    ]
}
