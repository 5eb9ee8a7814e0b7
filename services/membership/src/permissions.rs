//! The permission matrix of the service, computed by the policies of its features (`docs/permissions.md`).
use parta_access::{Permission, PrincipalKind, permission_rows};
use parta_ids::{MemberId, TypedId as _, Uuid};
use parta_roster::{MemberContext, Role, State};

use crate::{
    assembly, assignments, departures, duties, enrollments, guardianships, join_requests, member_records,
    members, roles, roster_import, service_accounts, suspensions,
};

type Rule = fn(PrincipalKind) -> bool;

/// The sample pupil to whom the rules of guardianships are applied.
fn pupil(of: &MemberContext) -> MemberContext {
    let mut facts = MemberContext::new(
        of.org_id,
        MemberId::from_uuid(Uuid::from_u128(4)),
        State::Active,
        [Role::Pupil],
    );
    facts.enrolled_in.insert(MemberContext::sample_unit());
    facts
}

fn person(kind: PrincipalKind, rule: impl Fn(&MemberContext) -> bool) -> bool {
    MemberContext::sample(kind).is_some_and(|facts| rule(&facts))
}

fn reads(kind: PrincipalKind) -> bool {
    kind == PrincipalKind::ServiceAccount || person(kind, |f| member_records::visibility(f).is_some())
}
fn imports(kind: PrincipalKind) -> bool {
    person(kind, |f| roster_import::import(f).is_allowed())
}
fn administers(kind: PrincipalKind) -> bool {
    person(kind, |f| roles::administer(f, &pupil(f)).is_allowed())
}
fn verifies(kind: PrincipalKind) -> bool {
    person(kind, |f| roles::verify(f).is_allowed())
}
fn unlocks(kind: PrincipalKind) -> bool {
    person(kind, |f| member_records::manage(f).is_allowed())
}
fn assigns(kind: PrincipalKind) -> bool {
    person(kind, |f| assignments::manage(f).is_allowed())
}
fn enrolls(kind: PrincipalKind) -> bool {
    person(kind, |f| enrollments::manage(f).is_allowed())
}
fn connects(kind: PrincipalKind) -> bool {
    person(kind, |f| service_accounts::administer(f).is_allowed())
}
fn decides(kind: PrincipalKind) -> bool {
    person(kind, |f| guardianships::decides_sample(f, pupil(f).member_id))
}
fn administers_families(kind: PrincipalKind) -> bool {
    person(kind, |f| guardianships::administer(f).is_allowed())
}
fn chooses(kind: PrincipalKind) -> bool {
    // The student of the sample relation is the sample pupil.
    person(kind, |f| {
        f.roles.contains(&Role::Pupil) && guardianships::choose(f, f.member_id).is_allowed()
    })
}
fn manages_duties(kind: PrincipalKind) -> bool {
    person(kind, |f| duties::manage(f).is_allowed())
}
fn lists_duties(kind: PrincipalKind) -> bool {
    person(kind, |f| duties::list(f).is_allowed())
}
fn suspends(kind: PrincipalKind) -> bool {
    person(kind, |f| suspensions::suspend(f).is_allowed())
}
fn decides_suspensions(kind: PrincipalKind) -> bool {
    kind == PrincipalKind::Operator || person(kind, |f| suspensions::decide(f).is_allowed())
}
fn follows(kind: PrincipalKind) -> bool {
    matches!(kind, PrincipalKind::Service | PrincipalKind::ServiceAccount)
}
fn anybody(_: PrincipalKind) -> bool {
    true
}
fn account(kind: PrincipalKind) -> bool {
    kind == PrincipalKind::Account
}
fn service(kind: PrincipalKind) -> bool {
    kind == PrincipalKind::Service
}

const RULES: &[(&str, Rule)] = &[
    ("parta.membership.v1.AuthenticationService/RequestCode", anybody),
    ("parta.membership.v1.AuthenticationService/VerifyCode", anybody),
    ("parta.membership.v1.AuthenticationService/StartSession", anybody),
    (
        "parta.membership.v1.AuthenticationService/RefreshSession",
        anybody,
    ),
    ("parta.membership.v1.AuthenticationService/EndSession", account),
    ("parta.membership.v1.AuthenticationService/ListSessions", account),
    (
        "parta.membership.v1.AuthenticationService/IssueOrganizationToken",
        account,
    ),
    (
        "parta.membership.v1.AuthenticationService/CreateJoinTicket",
        account,
    ),
    (
        "parta.membership.v1.AuthenticationService/ListMemberships",
        account,
    ),
    ("parta.membership.v1.AuthenticationService/GetJwks", anybody),
    ("parta.membership.v1.AppointmentService/ListAppointments", account),
    ("parta.membership.v1.AppointmentService/ClaimAppointment", account),
    ("parta.membership.v1.MemberService/GetMember", reads),
    ("parta.membership.v1.MemberService/BatchGetMembers", reads),
    ("parta.membership.v1.MemberService/ListMembers", reads),
    ("parta.membership.v1.MemberService/CreateMember", |k| {
        person(k, |f| {
            members::create_member(f, Role::Pupil, Some(MemberContext::sample_unit())).is_allowed()
        })
    }),
    ("parta.membership.v1.MemberService/ChangeMemberRoles", administers),
    ("parta.membership.v1.MemberService/VerifyTeacher", verifies),
    (
        "parta.membership.v1.MemberService/WithdrawTeacherVerification",
        verifies,
    ),
    ("parta.membership.v1.MemberService/RemoveMember", |k| {
        person(k, |f| departures::remove(f, &pupil(f), false).is_allowed())
    }),
    ("parta.membership.v1.MemberService/UnlockMemberSignIn", unlocks),
    ("parta.membership.v1.AssignmentService/CreateAssignment", assigns),
    ("parta.membership.v1.AssignmentService/EndAssignment", assigns),
    ("parta.membership.v1.AssignmentService/ListAssignments", reads),
    ("parta.membership.v1.EnrollmentService/EnrollPupil", enrolls),
    ("parta.membership.v1.EnrollmentService/TransferPupil", enrolls),
    ("parta.membership.v1.GuardianshipService/ListGuardianships", |k| {
        person(k, |f| guardianships::read(f).is_allowed())
    }),
    (
        "parta.membership.v1.GuardianshipService/ConfirmGuardianship",
        decides,
    ),
    (
        "parta.membership.v1.GuardianshipService/ConfirmGuardianships",
        decides,
    ),
    (
        "parta.membership.v1.GuardianshipService/ProposeGuardianship",
        decides,
    ),
    ("parta.membership.v1.GuardianshipService/EndGuardianship", decides),
    ("parta.membership.v1.DutyService/AssignDuty", manages_duties),
    ("parta.membership.v1.DutyService/EndDuty", manages_duties),
    ("parta.membership.v1.DutyService/ListDuties", lists_duties),
    ("parta.membership.v1.SuspensionService/SuspendMember", suspends),
    (
        "parta.membership.v1.SuspensionService/ConfirmSuspension",
        decides_suspensions,
    ),
    (
        "parta.membership.v1.SuspensionService/ReinstateMember",
        decides_suspensions,
    ),
    ("parta.membership.v1.SuspensionService/ListSuspensions", suspends),
    (
        "parta.membership.v1.SuspensionService/ListOverdueSuspensions",
        |k| k == PrincipalKind::Operator,
    ),
    (
        "parta.membership.v1.GuardianshipService/LimitGuardianship",
        decides,
    ),
    (
        "parta.membership.v1.GuardianshipService/ProtectFamily",
        administers_families,
    ),
    (
        "parta.membership.v1.GuardianshipService/UnprotectFamily",
        administers_families,
    ),
    (
        "parta.membership.v1.GuardianshipService/SetBirthDate",
        administers_families,
    ),
    (
        "parta.membership.v1.GuardianshipService/GetChildRecord",
        administers_families,
    ),
    (
        "parta.membership.v1.GuardianshipService/ChooseAdultAccess",
        chooses,
    ),
    ("parta.membership.v1.JoinRequestService/ListJoinRequests", |k| {
        person(k, |f| join_requests::list(f).is_allowed())
    }),
    ("parta.membership.v1.JoinRequestService/DecideJoinRequests", |k| {
        person(k, |f| join_requests::decide_sample(f).is_allowed())
    }),
    (
        "parta.membership.v1.JoinRequestService/ListOwnJoinRequests",
        account,
    ),
    (
        "parta.membership.v1.JoinRequestService/WithdrawJoinRequest",
        account,
    ),
    (
        "parta.membership.v1.ServiceAccountService/CreateServiceAccount",
        connects,
    ),
    (
        "parta.membership.v1.ServiceAccountService/RevokeServiceAccount",
        connects,
    ),
    (
        "parta.membership.v1.ServiceAccountService/RotateServiceAccountKey",
        connects,
    ),
    (
        "parta.membership.v1.ServiceAccountService/RevokeServiceAccountKey",
        connects,
    ),
    (
        "parta.membership.v1.ServiceAccountService/GetPermissionCatalog",
        connects,
    ),
    (
        "parta.membership.v1.ServiceAccountService/ListServiceAccounts",
        connects,
    ),
    (
        "parta.membership.v1.ServiceAccountService/IssueServiceAccountToken",
        anybody,
    ),
    ("parta.membership.v1.OperatorService/ListOutboxMessages", |k| {
        k == PrincipalKind::Operator
    }),
    ("parta.membership.v1.OperatorService/UnlockSignIn", |k| {
        k == PrincipalKind::Operator
    }),
    (
        "parta.membership.v1.RosterImportService/CheckRosterImport",
        imports,
    ),
    (
        "parta.membership.v1.RosterImportService/StartRosterImport",
        imports,
    ),
    (
        "parta.membership.v1.RosterImportService/DecideRosterImportChanges",
        imports,
    ),
    ("parta.membership.v1.RosterImportService/GetRosterImport", imports),
    (
        "parta.membership.v1.RosterImportService/ListRosterImports",
        imports,
    ),
    (
        "parta.membership.v1.RosterImportService/ListRosterImportChanges",
        imports,
    ),
    (
        "parta.membership.v1.RosterImportService/ListRosterImportProblems",
        imports,
    ),
    (
        "parta.membership.v1.RosterImportService/WatchRosterImport",
        imports,
    ),
    (
        "parta.membership.internal.v1.AdmissionService/AdmitMember",
        service,
    ),
    (
        "parta.membership.internal.v1.AdmissionService/AppointFoundingAdministrator",
        service,
    ),
    (
        "parta.membership.internal.v1.RevocationService/GetRevocations",
        service,
    ),
    ("parta.membership.v1.MembershipFeedService/Read", follows),
    ("parta.membership.v1.MembershipFeedService/Watch", follows),
    ("parta.membership.v1.MembershipFeedService/Snapshot", follows),
    ("parta.membership.v1.MembershipFeedService/WatchHeads", service),
];

/// RPCs that an account may call only for its own organizations and sessions.
const OF_ONE_ACCOUNT: [&str; 4] = [
    "/EndSession",
    "/IssueOrganizationToken",
    "/ClaimAppointment",
    "/WithdrawJoinRequest",
];

/// One row for each RPC and kind of principal.
pub fn permissions() -> Vec<Permission> {
    let mut rows = Vec::with_capacity(RULES.len() * PrincipalKind::ALL.len());
    for &(rpc, rule) in RULES {
        for kind in PrincipalKind::ALL {
            let own = rule(kind);
            // People and external systems belong to one organization. RPCs without an organization have no
            // foreign one.
            let crosses = !kind.is_person() && kind != PrincipalKind::ServiceAccount;
            let account_bound =
                kind == PrincipalKind::Account && OF_ONE_ACCOUNT.iter().any(|method| rpc.ends_with(method));
            let of_none =
                rpc.contains(".AuthenticationService/") || rpc.ends_with("/IssueServiceAccountToken");
            rows.push(Permission {
                rpc,
                kind,
                own,
                foreign: own && !account_bound && (crosses || of_none),
            });
        }
    }
    rows.extend(permission_rows(assembly::operator_rules()));
    rows
}
