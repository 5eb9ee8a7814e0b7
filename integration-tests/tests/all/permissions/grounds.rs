//! The rights of members whose ground has no column in docs/permissions.md. Each ground names the column that
//! it is compared with and the RPCs in which it differs, so that every RPC has a cell.
use parta_integration_tests::{Ground, Person, SEED, SeededRng, number_from_env};

use super::*;

struct Rights {
    /// The column of docs/permissions.md that the ground is compared with.
    like: Kind,
    /// The RPCs that the ground has in addition to the column.
    more: &'static [&'static str],
    /// The RPCs that the ground has not; `None` for every RPC of an organization.
    less: Option<&'static [&'static str]>,
}

/// The RPCs in which a parent has an object by a relation: the child, its class, its calls and chats.
const OF_RELATION: &[&str] = &[
    "CallService/GetCall",
    "ChatService/CreateDirectChat",
    "ChatService/GetChat",
    "ChatService/ListParticipants",
    "ChatService/RemoveParticipants",
    "MemberService/GetMember",
    "MessageService/BatchGetAuthors",
    "MessageService/ListEntries",
    "MessageService/MarkRead",
    "MessageService/SendMessage",
    "UnitService/GetUnit",
];

/// Those of them that show where the child is: its calls and the chats of its class.
const WHEREABOUTS: &[&str] = &[
    "CallService/GetCall",
    "ChatService/GetChat",
    "ChatService/ListParticipants",
    "ChatService/RemoveParticipants",
    "MessageService/BatchGetAuthors",
    "MessageService/ListEntries",
    "MessageService/MarkRead",
    "MessageService/SendMessage",
];

/// A substitute neither invites nor takes over links.
const OF_INVITERS: &[&str] = &[
    "InvitationService/AdoptInvitations",
    "InvitationService/CreateInvitation",
    "InvitationService/GetInvitation",
];

/// The RPCs of all staff that families do not have.
const OF_STAFF: &[&str] = &[
    "ChatService/CreateChat",
    "DutyService/ListDuties",
    "InvitationService/ListInvitations",
    "RoleService/GetActingHead",
];

/// A teacher requests their own verification, and sees its announced end.
const OF_TEACHERS: &[&str] = &[
    "MemberService/ListVerificationRequests",
    "MemberService/RequestVerification",
    "RoleService/ListVerificationEnds",
];

/// Staff who are no teachers read «Сотрудники», and write in no chat of the roster.
const OF_TEACHERS_WHO_WRITE: &[&str] = &[
    "MemberService/ListVerificationRequests",
    "MemberService/RequestVerification",
    "MessageService/SendMessage",
    "RoleService/ListVerificationEnds",
];

/// The calls with pupils of the class, which a duty for the class adds for staff.
const OF_DUTY: &[&str] = &["CallService/GetCall", "CallService/IssueJoinToken"];

fn rights(ground: Ground) -> Rights {
    let all: Option<&[_]> = Some(&[]);
    let (like, more, less): (_, &[_], _) = match ground {
        Ground::Staff => (Kind::UnverifiedTeacher, &[], Some(OF_TEACHERS_WHO_WRITE)),
        Ground::StaffWithDuty => (Kind::UnverifiedTeacher, OF_DUTY, Some(OF_TEACHERS)),
        Ground::Deputy => (Kind::Head, &[], all),
        Ground::FormerMember | Ground::Suspended => (Kind::Teacher, &[], None),
        Ground::Substitute => (Kind::Teacher, &[], Some(OF_INVITERS)),
        Ground::UnconfirmedParent | Ground::Ended => (Kind::Parent, &[], Some(OF_RELATION)),
        Ground::NoWhereabouts => (Kind::Parent, &[], Some(WHEREABOUTS)),
        Ground::NoContact | Ground::NoDecisions | Ground::Trusted => (Kind::Parent, &[], all),
        Ground::StaffParent => (Kind::Parent, OF_STAFF, all),
        Ground::AdultPupil => (Kind::Pupil, &[], all),
    };
    Rights { like, more, less }
}

/// Whether a list of RPCs, without their packages, names this one.
fn names(list: &[&str], rpc: &str) -> bool {
    rpc.rsplit_once('.').is_some_and(|(_, name)| list.contains(&name))
}

/// Whether the ground has no cell for the RPC: the sample of the choice at 18 makes the student a minor. The
/// tests of guardianships have that choice.
fn has_no_cell(ground: Ground, rpc: &str) -> bool {
    ground == Ground::AdultPupil && rpc.ends_with("/ChooseAdultAccess")
}

/// Returns the cells of a ground that are `allowed`, in their own school.
fn cells_of(ground: Ground, allowed: bool) -> Vec<Cell> {
    let rights = rights(ground);
    let is_allowed = |row: &parta_access::Permission| {
        let keeps = rights.less.map_or(row.foreign, |less| !names(less, row.rpc));
        names(rights.more, row.rpc) || (row.own && keeps)
    };
    let rows = permissions::rows().into_iter();
    rows.filter(|row| row.kind == rights.like && !has_no_cell(ground, row.rpc))
        .filter(|row| is_allowed(row) == allowed)
        .map(|row| Cell {
            rpc: row.rpc,
            kind: row.kind,
            own: true,
        })
        .collect()
}

/// Checks refused cells, and that they change nothing.
async fn wrong_refusals(two_schools: &TwoSchools, cells: &[(Ground, Client, Cell)]) -> Vec<String> {
    let mut bodies = BTreeMap::new();
    for (_, _, cell) in cells {
        if let Entry::Vacant(free) = bodies.entry(cell.rpc) {
            let sample = samples::sample(two_schools, &two_schools.own, Kind::Operator, false, cell.rpc);
            free.insert(sample.await.1);
        }
    }
    wait_until_applied(two_schools).await;
    let before = state(two_schools).await;
    let called = futures::stream::iter(cells).map(|(ground, client, cell)| {
        let body = bodies[cell.rpc].clone();
        async move {
            let found = cell.check(client, body, false).await;
            found.map(|why| format!("{ground:?}: {why}"))
        }
    });
    let wrong = called.buffered(AT_ONCE).filter_map(std::future::ready);
    let wrong: Vec<_> = wrong.collect().await;
    assert_eq!(state(two_schools).await, before, "{}", wrong.join("\n"));
    wrong
}

/// Checks the allowed cells of a ground one by one.
async fn wrong_permissions(two_schools: &TwoSchools, ground: Ground, person: Person) -> Vec<String> {
    let two_schools = two_schools.with(rights(ground).like, person);
    let wrong = check_allowed(&two_schools, &cells_of(ground, true)).await;
    wrong
        .into_iter()
        .map(|why| format!("{ground:?}: {why}"))
        .collect()
}

/// Every cell of every ground, or the allowed cells and a share of the refused ones: one of this many.
async fn cells_of_grounds_are_true(suite: Suite, share: usize) {
    let two_schools = TwoSchools::new(&suite).await;
    let people = two_schools.people_by_ground().await;
    let seed = number_from_env(SEED, parta_ids::Env::system().now().timestamp().unsigned_abs());
    let mut chosen = SeededRng::new(seed);
    let mut refused = Vec::new();
    for (ground, person) in &people {
        let cells = cells_of(*ground, false).into_iter();
        let cells = cells.filter(|_| chosen.one_in(share));
        refused.extend(cells.map(|cell| (*ground, person.client.clone(), cell)));
    }
    let begun = Instant::now();
    let mut wrong = wrong_refusals(&two_schools, &refused).await;
    let checked = begun.elapsed();
    for (ground, person) in people {
        wrong.extend(wrong_permissions(&two_schools, ground, person).await);
    }
    println!(
        "{} refused cells in {checked:.1?}, allowed ones in {:.1?}",
        refused.len(),
        begun.elapsed() - checked
    );
    suite.stop().await;
    assert!(wrong.is_empty(), "seed {seed}:\n{}", wrong.join("\n"));
}

/// Covers: R23 allowed, R23 refused, R28 refused, R82 refused
/// Covers: F3 allowed, F3 refused, F4 allowed, F4 refused, F13 allowed, F13 refused
mod grounds_decide_about_every_rpc {
    use super::*;

    #[test]
    fn one_process() {
        parta_testkit::run(async {
            cells_of_grounds_are_true(Suite::one_process().await, 1).await;
        });
    }

    #[test]
    fn split() {
        parta_testkit::run(async {
            let share = if std::env::var_os(FULL).is_none() { 20 } else { 1 };
            let suite = Suite::split(env!("CARGO_BIN_EXE_suite-process")).await;
            cells_of_grounds_are_true(suite, share).await;
        });
    }
}

#[test]
fn external_system_without_permission_reads_nothing() {
    parta_testkit::run(async {
        let suite = Suite::one_process().await;
        let two_schools = TwoSchools::new(&suite).await;
        let rows = permissions::rows().into_iter();
        let rows: Vec<_> = rows
            .filter(|row| row.kind == Kind::ServiceAccount && row.own && !row.foreign)
            .collect();
        // Each system has one permission, and is refused by the RPCs of the others.
        let mut opened = BTreeMap::<_, usize>::new();
        for permission in parta_access::ServiceAccountPermission::ALL {
            let wanted = json!({"display_name": "Дневник", "permissions": [permission.name()]});
            let made = two_schools
                .own
                .must("ServiceAccountService/CreateServiceAccount", wanted)
                .await;
            let issue = json!({"key": made["key"]});
            let issued = suite
                .anonymous()
                .must("ServiceAccountService/IssueServiceAccountToken", issue)
                .await;
            let client = suite
                .anonymous()
                .with(issued["access_token"].as_str().unwrap())
                .of(&two_schools.own.school.org_id);
            for row in &rows {
                let target = &two_schools.own;
                let (_, body) = samples::sample(&two_schools, target, row.kind, true, row.rpc).await;
                match call_rpc(&client, row.rpc, body).await {
                    Ok(()) => *opened.entry(row.rpc).or_default() += 1,
                    Err(status) => {
                        assert_eq!(reason(&status), "CALLER_NOT_ACCEPTED", "{} {permission}", row.rpc);
                    }
                }
            }
        }
        suite.stop().await;
        let wanted: BTreeMap<_, usize> = rows.iter().map(|row| (row.rpc, 1)).collect();
        assert_eq!(opened, wanted);
    });
}
