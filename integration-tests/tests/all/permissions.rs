//! That docs/permissions.md tells the truth: every cell is asked over the public API of the composed suite.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may fail loudly")]
mod requests;
mod samples;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use parta_access::{Permission, PrincipalKind as Kind};
use parta_integration_tests::{Client, Suite, TwoSchools, permissions, reason};
use parta_testkit::dynamic;
use serde_json::{Value, json};
use tokio_stream::StreamExt as _;
use tonic::{Code, Status};

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
fn every_rpc_has_a_row_of_every_kind_and_every_row_an_rpc() {
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
    let allowed: usize = rows
        .iter()
        .map(|r| usize::from(r.own) + usize::from(r.foreign))
        .sum();
    assert!(rows.len() * 2 - allowed >= 2 * allowed, "refusals prevail");
}

/// The service that an RPC's rule names.
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

/// What is wrong with an answer to somebody of whom the table says `allowed`.
fn lie(allowed: bool, rpc: &str, outcome: &Result<(), Status>) -> Option<String> {
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
    let wrong = reason.is_empty() || refused == allowed || (fault && !(allowed && part));
    wrong.then(|| format!("{:?} {reason} {}", status.code(), status.message()))
}

/// Everything that the feeds tell: what a refused call must not change.
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

async fn check(
    two_schools: &TwoSchools,
    rows: &[Permission],
    allowed: bool,
    lies: &mut Vec<String>,
) -> usize {
    let mut asked = 0;
    let mut prepared = BTreeMap::new();
    if !allowed {
        // Made before what is refused is asked: only the refused calls lie between the two looks.
        for rpc in served() {
            for own in [true, false] {
                let place = if own {
                    &two_schools.own
                } else {
                    &two_schools.foreign
                };
                let (_, body) = samples::sample(two_schools, place, Kind::Operator, false, &rpc).await;
                prepared.insert((rpc.clone(), own), body);
            }
        }
    }
    // What was made is known everywhere: chat has made its chats of it.
    for place in [&two_schools.own, &two_schools.foreign] {
        place.must("ChatService/ListChats", json!({})).await;
    }
    let before = if allowed {
        BTreeMap::new()
    } else {
        state(two_schools).await
    };
    for row in rows {
        for (own, says) in [(true, row.own), (false, row.foreign)] {
            if says != allowed {
                continue;
            }
            let place = if own {
                &two_schools.own
            } else {
                &two_schools.foreign
            };
            let (caller, body) = match prepared.get(&(row.rpc.to_owned(), own)) {
                Some(body) => (None, body.clone()),
                None => samples::sample(two_schools, place, row.kind, own, row.rpc).await,
            };
            let client = caller.unwrap_or_else(|| two_schools.client(row.kind, service(row.rpc)));
            let outcome = ask(&client, row.rpc, body).await;
            asked += 1;
            if let Some(why) = lie(allowed, row.rpc, &outcome) {
                let place = if own { "own" } else { "foreign" };
                lies.push(format!(
                    "{} {:?} {place} should be {allowed}: {why}",
                    row.rpc, row.kind
                ));
            }
        }
    }
    if !allowed {
        assert_eq!(
            state(two_schools).await,
            before,
            "a refused call changed something"
        );
    }
    asked
}

/// Covers: R23 allowed, R23 refused, R28 refused, R59 refused
#[test]
fn every_cell_of_the_table_is_true() {
    parta_testkit::run(async {
        let suite = Suite::one_process().await;
        let two_schools = TwoSchools::new(&suite).await;
        let rows = permissions::rows();
        let mut lies = Vec::new();
        let refused = check(&two_schools, &rows, false, &mut lies).await;
        let allowed = check(&two_schools, &rows, true, &mut lies).await;
        suite.stop().await;
        assert!(
            lies.is_empty(),
            "{} of {} cells lie:\n{}",
            lies.len(),
            refused + allowed,
            lies.join("\n")
        );
        assert!(refused >= 2 * allowed);
    });
}
