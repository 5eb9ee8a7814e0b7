//! Checks docs/permissions.md over the public API: every cell in one process, and every allowed cell and one
//! refused cell of each RPC in five processes.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may fail loudly")]
#![expect(
    clippy::print_stdout,
    reason = "the output of the test shows the duration of its parts"
)]
mod departed;
mod grounds;
mod refused;
mod requests;
mod samples;

use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    time::{Duration, Instant},
};

use futures::StreamExt as _;
use parta_access::PrincipalKind as Kind;
use parta_integration_tests::{Client, SampleSchool, Suite, TwoSchools, permissions, reason};
use parta_testkit::dynamic;
use serde_json::{Value, json};
use tonic::{Code, Status};

/// Environment variable that makes five processes check every refused cell too.
const FULL: &str = "PARTA_TEST_FULL_MATRIX";
/// Number of concurrent refused calls.
const AT_ONCE: usize = 16;

fn served() -> BTreeSet<String> {
    let services: Vec<_> = parta::SERVICES.iter().flat_map(|s| s.grpc_services).collect();
    let all = dynamic::all_methods().into_iter();
    all.filter(|m| {
        services
            .iter()
            .any(|name| **name == m.parent_service().full_name())
    })
    .map(|m| dynamic::name(&m))
    .collect()
}

#[test]
fn permission_rows_match_the_rpcs_and_kinds() {
    let rows = permissions::rows();
    let mut counts = BTreeMap::<_, usize>::new();
    for row in &rows {
        *counts.entry((row.rpc.to_owned(), row.kind)).or_default() += 1;
    }
    assert!(counts.values().all(|count| *count == 1));
    let wanted: BTreeSet<_> = served()
        .into_iter()
        .flat_map(|rpc| Kind::ALL.map(|kind| (rpc.clone(), kind)))
        .collect();
    assert_eq!(counts.into_keys().collect::<BTreeSet<_>>(), wanted);
    // A permission for objects that the caller created supplements a refusal.
    for creator in permissions::creator_rows() {
        let row = rows
            .iter()
            .find(|row| (row.rpc, row.kind) == (creator.rpc, creator.kind));
        assert!(row.is_some_and(|row| !row.own && !row.foreign), "{creator:?}");
    }
    let allowed: usize = rows
        .iter()
        .map(|r| usize::from(r.own) + usize::from(r.foreign))
        .sum();
    assert!(rows.len() * 2 - allowed >= 2 * allowed, "refusals prevail");
}

/// Returns the service that the access rule of an RPC names.
fn service(rpc: &str) -> &'static str {
    match rpc.rsplit_once('/').unwrap().1 {
        "AdmitMember" | "CancelAdmission" | "EndInvitations" => "invitation",
        "GetNames" => "chat",
        "AppointFoundingAdministrator" => "org-registry",
        _ => "call-scheduling",
    }
}

async fn call_rpc(client: &Client, rpc: &str, body: Value) -> Result<(), Status> {
    if !dynamic::method(rpc).is_server_streaming() {
        return client.call(rpc, body).await.map(|_| ());
    }
    let mut responses = client.open(rpc, body).await?;
    match tokio::time::timeout(Duration::from_millis(150), responses.next()).await {
        Ok(Some(Err(status))) => Err(status),
        _ => Ok(()),
    }
}

/// Returns the fault of a response where the table says `allowed`.
fn wrong(allowed: bool, rpc: &str, outcome: &Result<(), Status>) -> Option<String> {
    let Err(status) = outcome else {
        return (!allowed).then(|| "was allowed".to_owned());
    };
    let reason = reason(status);
    let refused = matches!(
        status.code(),
        Code::Unauthenticated | Code::PermissionDenied | Code::NotFound
    );
    let part = dynamic::method(rpc).is_client_streaming() && status.code() == Code::InvalidArgument;
    let fault = matches!(
        status.code(),
        Code::Internal | Code::Unknown | Code::InvalidArgument | Code::Unavailable
    );
    let differs = reason.is_empty() || refused == allowed || (fault && !(allowed && part));
    differs.then(|| format!("{:?} {reason} {}", status.code(), status.message()))
}

/// The events of all feeds, which a refused call must not change.
async fn state(two_schools: &TwoSchools) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    let client = two_schools.suite.service("call-scheduling");
    for rpc in served().iter().filter(|rpc| rpc.ends_with("/Snapshot")) {
        for org_id in [&two_schools.own.school.org_id, &two_schools.foreign.school.org_id] {
            let mut items = client.open(rpc, json!({"org_id": org_id})).await.unwrap();
            let (mut count, mut last) = (0, Value::Null);
            while let Some(item) = items.next().await {
                let item = dynamic::json(&item.unwrap());
                count += 1;
                if item["cursor"] != json!("") {
                    last = item["cursor"].clone();
                }
            }
            counts.insert(format!("{rpc} {org_id} {last}"), count);
        }
    }
    counts
}

/// One cell of the table: a kind of principal calls an RPC in the caller's or in the other organization.
struct Cell {
    rpc: &'static str,
    kind: Kind,
    own: bool,
}

impl Cell {
    fn target<'a>(&self, two_schools: &'a TwoSchools) -> &'a SampleSchool {
        if self.own {
            &two_schools.own
        } else {
            &two_schools.foreign
        }
    }

    /// Calls the RPC and returns the fault of the response.
    async fn check(&self, client: &Client, body: Value, allowed: bool) -> Option<String> {
        let outcome = call_rpc(client, self.rpc, body).await;
        let why = wrong(allowed, self.rpc, &outcome)?;
        let whose = if self.own { "own" } else { "foreign" };
        Some(format!(
            "{} {:?} {whose} should be {allowed}: {why}",
            self.rpc, self.kind
        ))
    }
}

/// Returns whether an RPC belongs to one of these gRPC services.
fn belongs(rpc: &str, grpc_services: &[&str]) -> bool {
    grpc_services.contains(&rpc.split_once('/').unwrap().0)
}

/// Returns the cells of gRPC services that are `allowed`, in the order of the table.
fn cells(grpc_services: &[&str], allowed: bool) -> Vec<Cell> {
    let rows = permissions::rows().into_iter();
    let rows = rows.filter(|row| belongs(row.rpc, grpc_services));
    let both = rows.flat_map(|row| [(true, row.own), (false, row.foreign)].map(|of| (row, of)));
    both.filter(|(_, (_, says))| *says == allowed)
        .map(|(row, (own, _))| Cell {
            rpc: row.rpc,
            kind: row.kind,
            own,
        })
        .collect()
}

/// Returns one cell of each RPC: that of a person, whom the facts of the roster decide about, if there is
/// one.
fn one_of_each_rpc(mut cells: Vec<Cell>) -> Vec<Cell> {
    cells.sort_by_key(|cell| (cell.rpc, !cell.kind.is_person(), !cell.own));
    cells.dedup_by_key(|cell| cell.rpc);
    cells
}

/// Waits until every service has applied the samples. Only then can chat list the chats.
async fn wait_until_applied(two_schools: &TwoSchools) {
    for target in [&two_schools.own, &two_schools.foreign] {
        target.must("ChatService/ListChats", json!({})).await;
    }
}

/// Checks [`AT_ONCE`] cells concurrently, because a refused call changes nothing that another call reads.
async fn check_refused(two_schools: &TwoSchools, cells: &[Cell]) -> Vec<String> {
    // All samples are created before the first check, so that only refused calls run between the two states.
    let mut prepared = BTreeMap::new();
    for cell in cells {
        if let Entry::Vacant(free) = prepared.entry((cell.rpc, cell.own)) {
            let target = cell.target(two_schools);
            free.insert(
                samples::sample(two_schools, target, Kind::Operator, false, cell.rpc)
                    .await
                    .1,
            );
        }
    }
    wait_until_applied(two_schools).await;
    let before = state(two_schools).await;
    let called = futures::stream::iter(cells).map(|cell| {
        let body = prepared[&(cell.rpc, cell.own)].clone();
        async move {
            let client = two_schools.client(cell.kind, service(cell.rpc));
            cell.check(&client, body, false).await
        }
    });
    let wrong: Vec<_> = called
        .buffered(AT_ONCE)
        .filter_map(std::future::ready)
        .collect()
        .await;
    let after = state(two_schools).await;
    assert_eq!(
        after,
        before,
        "a refused call changed something; wrong cells:\n{}",
        wrong.join("\n")
    );
    wrong
}

/// Checks the cells one by one, because an allowed call changes data that the next call reads.
async fn check_allowed(two_schools: &TwoSchools, cells: &[Cell]) -> Vec<String> {
    let mut wrong = Vec::new();
    for cell in cells {
        let target = cell.target(two_schools);
        let (caller, body) = samples::sample(two_schools, target, cell.kind, cell.own, cell.rpc).await;
        let client = caller.unwrap_or_else(|| two_schools.client(cell.kind, service(cell.rpc)));
        wrong.extend(cell.check(&client, body, true).await);
    }
    wrong
}

/// Checks the permissions of gRPC services that principals have for objects that they created.
async fn check_creators(two_schools: &TwoSchools, grpc_services: &[&str]) -> Vec<String> {
    let mut wrong = Vec::new();
    let rows = permissions::creator_rows().into_iter();
    for row in rows.filter(|row| belongs(row.rpc, grpc_services)) {
        let body = samples::created(two_schools, row.kind, row.rpc).await;
        let cell = Cell {
            rpc: row.rpc,
            kind: row.kind,
            own: true,
        };
        let client = two_schools.client(row.kind, service(row.rpc));
        let found = cell.check(&client, body, true).await;
        wrong.extend(found.map(|why| format!("for its creator: {why}")));
    }
    wrong
}

/// Covers: R23 allowed, R23 refused, R28 refused, R59 refused
async fn every_cell_of_the_table_is_true(suite: Suite, grpc_services: &[&str], refused: Vec<Cell>) {
    let begun = Instant::now();
    let two_schools = TwoSchools::new(&suite).await;
    let founded = begun.elapsed();
    let allowed = cells(grpc_services, true);
    let mut wrong = check_refused(&two_schools, &refused).await;
    let checked = begun.elapsed();
    wrong.extend(check_allowed(&two_schools, &allowed).await);
    wrong.extend(check_creators(&two_schools, grpc_services).await);
    println!(
        "schools {founded:.1?}, {} refused cells {:.1?}, {} allowed cells {:.1?}",
        refused.len(),
        checked - founded,
        allowed.len(),
        begun.elapsed() - checked
    );
    suite.stop().await;
    assert!(
        wrong.is_empty(),
        "{} of {} cells are wrong:\n{}",
        wrong.len(),
        refused.len() + allowed.len(),
        wrong.join("\n")
    );
}

/// Defines a test for each service, and not one for each gRPC service, because the setup of a suite takes as
/// long as the cells of several gRPC services. Each runs in one process, on its own suite, and a test for all
/// of them in five processes. The five processes share their code with the one, so that one refused cell of
/// each RPC proves that the service has the facts.
macro_rules! cases {
    ($($name:ident: [$($grpc_service:literal,)+],)+) => {
        const CASES: &[&str] = &[$($($grpc_service),+),+];
        $(
            mod $name {
                use super::*;

                #[test]
                fn one_process() {
                    parta_testkit::run(async {
                        let grpc_services = &[$($grpc_service),+];
                        let refused = cells(grpc_services, false);
                        let suite = Suite::one_process().await;
                        every_cell_of_the_table_is_true(suite, grpc_services, refused).await;
                    });
                }
            }
        )+

        mod all_services {
            use super::*;

            #[test]
            fn split() {
                parta_testkit::run(async {
                    let mut refused = cells(CASES, false);
                    if std::env::var_os(FULL).is_none() {
                        refused = one_of_each_rpc(refused);
                    }
                    let suite = Suite::split(env!("CARGO_BIN_EXE_suite-process")).await;
                    every_cell_of_the_table_is_true(suite, CASES, refused).await;
                });
            }
        }
    };
}

cases! {
    call_scheduling: [
        "parta.call_scheduling.v1.CallSchedulingFeedService",
        "parta.call_scheduling.v1.CallSchedulingJobService",
        "parta.call_scheduling.v1.CallSchedulingQuarantineService",
        "parta.call_scheduling.v1.CallService",
    ],
    chat: [
        "parta.chat.internal.v1.AnnouncementService",
        "parta.chat.v1.ChatFeedService",
        "parta.chat.v1.ChatJobService",
        "parta.chat.v1.ChatQuarantineService",
        "parta.chat.v1.ChatService",
        "parta.chat.v1.LiveService",
        "parta.chat.v1.MessageService",
    ],
    invitation: [
        "parta.invitation.v1.InvitationFeedService",
        "parta.invitation.v1.InvitationJobService",
        "parta.invitation.v1.InvitationQuarantineService",
        "parta.invitation.v1.InvitationService",
    ],
    membership: [
        "parta.membership.internal.v1.AdmissionService",
        "parta.membership.internal.v1.NameService",
        "parta.membership.internal.v1.RevocationService",
        "parta.membership.v1.AccountService",
        "parta.membership.v1.AppointmentService",
        "parta.membership.v1.AssignmentService",
        "parta.membership.v1.AuthenticationService",
        "parta.membership.v1.DutyService",
        "parta.membership.v1.EnrollmentService",
        "parta.membership.v1.GuardianshipService",
        "parta.membership.v1.JoinRequestService",
        "parta.membership.v1.MemberService",
        "parta.membership.v1.MembershipFeedService",
        "parta.membership.v1.MembershipJobService",
        "parta.membership.v1.MembershipQuarantineService",
        "parta.membership.v1.OneTimeCodeService",
        "parta.membership.v1.OperatorService",
        "parta.membership.v1.RoleService",
        "parta.membership.v1.RosterImportService",
        "parta.membership.v1.ServiceAccountService",
        "parta.membership.v1.SuspensionService",
    ],
    org_registry: [
        "parta.org_registry.v1.ApplicationService",
        "parta.org_registry.v1.OrgRegistryFeedService",
        "parta.org_registry.v1.OrgRegistryJobService",
        "parta.org_registry.v1.OrgRegistryQuarantineService",
        "parta.org_registry.v1.OrganizationService",
        "parta.org_registry.v1.PolicyService",
        "parta.org_registry.v1.UnitService",
    ],
}

#[test]
fn permission_tests_cover_every_grpc_service() {
    let cases: BTreeSet<_> = CASES.iter().map(|name| (*name).to_owned()).collect();
    let served = served().into_iter();
    let services: BTreeSet<_> = served
        .map(|rpc| rpc.split_once('/').unwrap().0.to_owned())
        .collect();
    assert_eq!(cases, services);
}
