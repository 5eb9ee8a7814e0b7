//! Checks docs/permissions.md: every cell is tested over the public API of the composed suite.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may fail loudly")]
mod refused;
mod requests;
mod samples;

use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    time::Duration,
};

use futures::StreamExt as _;
use parta_access::PrincipalKind as Kind;
use parta_integration_tests::{Client, Place, Suite, TwoSchools, permissions, reason};
use parta_testkit::dynamic;
use serde_json::{Value, json};
use tonic::{Code, Status};

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
        "AdmitMember" => "invitation",
        "AppointFoundingAdministrator" => "org-registry",
        _ => "call-scheduling",
    }
}

async fn ask(client: &Client, rpc: &str, body: Value) -> Result<(), Status> {
    if !dynamic::method(rpc).is_server_streaming() {
        return client.call(rpc, body).await.map(|_| ());
    }
    let mut answers = client.open(rpc, body).await?;
    match tokio::time::timeout(Duration::from_millis(150), answers.next()).await {
        Ok(Some(Err(status))) => Err(status),
        _ => Ok(()),
    }
}

/// Returns the fault of a response where the table says `allowed`.
fn wrong(allowed: bool, rpc: &str, outcome: &Result<(), Status>) -> Option<String> {
    let Err(status) = outcome else {
        return (!allowed).then(|| "answered".to_owned());
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
    for rpc in served().iter().filter(|rpc| rpc.ends_with("/Snapshot")) {
        let client = two_schools.suite.service("call-scheduling");
        let mut items = client.open(rpc, json!({})).await.unwrap();
        let (mut count, mut last) = (0, Value::Null);
        while let Some(item) = items.next().await {
            let item = dynamic::json(&item.unwrap());
            count += 1;
            if item["cursor"] != json!("") {
                last = item["cursor"].clone();
            }
        }
        counts.insert(format!("{rpc} {last}"), count);
    }
    counts
}

/// One cell of the table: a kind of principal calls an RPC in the own or in the other organization.
struct Cell {
    rpc: &'static str,
    kind: Kind,
    own: bool,
}

impl Cell {
    fn place<'a>(&self, two_schools: &'a TwoSchools) -> &'a Place {
        if self.own {
            &two_schools.own
        } else {
            &two_schools.foreign
        }
    }

    /// Calls the RPC and returns the fault of the response.
    async fn check(&self, client: &Client, body: Value, allowed: bool) -> Option<String> {
        let outcome = ask(client, self.rpc, body).await;
        let why = wrong(allowed, self.rpc, &outcome)?;
        let place = if self.own { "own" } else { "foreign" };
        Some(format!(
            "{} {:?} {place} should be {allowed}: {why}",
            self.rpc, self.kind
        ))
    }
}

/// Returns the cells of a gRPC service that are `allowed`, in the order of the table.
fn cells(grpc_service: &str, allowed: bool) -> Vec<Cell> {
    let rows = permissions::rows().into_iter();
    let rows = rows.filter(|row| row.rpc.split_once('/').unwrap().0 == grpc_service);
    let both = rows.flat_map(|row| [(true, row.own), (false, row.foreign)].map(|of| (row, of)));
    both.filter(|(_, (_, says))| *says == allowed)
        .map(|(row, (own, _))| Cell {
            rpc: row.rpc,
            kind: row.kind,
            own,
        })
        .collect()
}

/// Waits until every service has applied the samples. Only then can chat list the chats.
async fn settled(two_schools: &TwoSchools) {
    for place in [&two_schools.own, &two_schools.foreign] {
        place.must("ChatService/ListChats", json!({})).await;
    }
}

/// Checks [`AT_ONCE`] cells concurrently, because a refused call changes nothing that another call reads.
async fn check_refused(two_schools: &TwoSchools, cells: &[Cell]) -> Vec<String> {
    // All samples are created before the first check, so that only refused calls run between the two states.
    let mut prepared = BTreeMap::new();
    for cell in cells {
        if let Entry::Vacant(free) = prepared.entry((cell.rpc, cell.own)) {
            let place = cell.place(two_schools);
            free.insert(
                samples::sample(two_schools, place, Kind::Operator, false, cell.rpc)
                    .await
                    .1,
            );
        }
    }
    settled(two_schools).await;
    let before = state(two_schools).await;
    let asked = futures::stream::iter(cells).map(|cell| {
        let body = prepared[&(cell.rpc, cell.own)].clone();
        async move {
            let client = two_schools.client(cell.kind, service(cell.rpc));
            cell.check(&client, body, false).await
        }
    });
    let wrong: Vec<_> = asked
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
        let place = cell.place(two_schools);
        let (caller, body) = samples::sample(two_schools, place, cell.kind, cell.own, cell.rpc).await;
        let client = caller.unwrap_or_else(|| two_schools.client(cell.kind, service(cell.rpc)));
        wrong.extend(cell.check(&client, body, true).await);
    }
    wrong
}

/// Checks the permissions of a gRPC service that principals have for objects that they created.
async fn check_creators(two_schools: &TwoSchools, grpc_service: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    let rows = permissions::creator_rows().into_iter();
    for row in rows.filter(|row| row.rpc.split_once('/').unwrap().0 == grpc_service) {
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
fn every_cell_of_the_table_is_true(grpc_service: &str) {
    parta_testkit::run(async {
        let suite = Suite::one_process().await;
        let two_schools = TwoSchools::new(&suite).await;
        let (refused, allowed) = (cells(grpc_service, false), cells(grpc_service, true));
        let mut wrong = check_refused(&two_schools, &refused).await;
        wrong.extend(check_allowed(&two_schools, &allowed).await);
        wrong.extend(check_creators(&two_schools, grpc_service).await);
        suite.stop().await;
        assert!(
            wrong.is_empty(),
            "{} of {} cells are wrong:\n{}",
            wrong.len(),
            refused.len() + allowed.len(),
            wrong.join("\n")
        );
    });
}

/// Defines one test for each gRPC service, on its own suite.
macro_rules! cases {
    ($($name:ident: $service:literal,)+) => {
        const CASES: &[&str] = &[$($service),+];
        $(
            #[test]
            fn $name() {
                every_cell_of_the_table_is_true($service);
            }
        )+
    };
}

cases! {
    call_scheduling_feed: "parta.call_scheduling.v1.CallSchedulingFeedService",
    call: "parta.call_scheduling.v1.CallService",
    announcement: "parta.chat.internal.v1.AnnouncementService",
    chat_feed: "parta.chat.v1.ChatFeedService",
    chat: "parta.chat.v1.ChatService",
    live: "parta.chat.v1.LiveService",
    message: "parta.chat.v1.MessageService",
    invitation_feed: "parta.invitation.v1.InvitationFeedService",
    invitation: "parta.invitation.v1.InvitationService",
    admission: "parta.membership.internal.v1.AdmissionService",
    appointment: "parta.membership.v1.AppointmentService",
    assignment: "parta.membership.v1.AssignmentService",
    authentication: "parta.membership.v1.AuthenticationService",
    enrollment: "parta.membership.v1.EnrollmentService",
    guardianship: "parta.membership.v1.GuardianshipService",
    member: "parta.membership.v1.MemberService",
    membership_feed: "parta.membership.v1.MembershipFeedService",
    operator: "parta.membership.v1.OperatorService",
    roster_import: "parta.membership.v1.RosterImportService",
    service_account: "parta.membership.v1.ServiceAccountService",
    application: "parta.org_registry.v1.ApplicationService",
    org_registry_feed: "parta.org_registry.v1.OrgRegistryFeedService",
    organization: "parta.org_registry.v1.OrganizationService",
    unit: "parta.org_registry.v1.UnitService",
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
