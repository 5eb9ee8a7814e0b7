//! A member who has left is outside the organization (R26): no RPC that names it shows that it exists, and an
//! open stream ends.
use parta_integration_tests::{Person, School, on_both_topologies};

use super::*;

/// The time in which a stream ends after its member has left, with the delivery of the events.
const STREAM_END_MAX: Duration = Duration::from_secs(40);

/// RPCs that name an organization and refuse a member who has left with NOT_FOUND of another resource, each
/// with the resource and the reason. ADR 0010 lists the repetitions that are accepted, and each has a
/// test of its own.
const OTHER_RESOURCES: &[(&str, &str, &str)] = &[(
    "parta.membership.v1.AppointmentService/ClaimAppointment",
    "appointment",
    "every account without an open appointment gets it, whether it was a member or not",
)];

/// Whether the request of an RPC names an organization, in a field of its own or in its header.
fn names_organization(rpc: &str) -> bool {
    let input = dynamic::method(rpc).input();
    let header = input.get_field_by_name("header").map(|field| field.kind());
    let header = header.and_then(|kind| kind.as_message().cloned());
    [Some(input), header]
        .into_iter()
        .flatten()
        .any(|message| message.get_field_by_name("org_id").is_some())
}

/// Returns the RPCs that name an organization and that this kind of principal may call.
fn rpcs_of(accepts: impl Fn(Kind) -> bool) -> BTreeSet<String> {
    let rows = permissions::rows().into_iter();
    rows.filter(|row| row.own && accepts(row.kind) && names_organization(row.rpc))
        .map(|row| row.rpc.to_owned())
        .collect()
}

/// A second administrator, who may do everything that a member may.
async fn second_administrator(school: &School) -> Person {
    let person = school.teacher("Павел Соколов").await;
    let roles = json!({"member_id": person.member_id, "roles": ["ROLE_TEACHER", "ROLE_ADMINISTRATOR"]});
    let by = &school.administrator.client;
    by.must("MemberService/ChangeMemberRoles", roles).await;
    person
}

async fn remove(school: &School, person: &Person) {
    let member = json!({"member_id": person.member_id});
    let by = &school.administrator.client;
    by.must("MemberService/RemoveMember", member).await;
}

on_both_topologies!(
    /// Covers: R26 refused
    member_who_left_gets_not_found_from_every_rpc, |suite: Suite| async move {
        let two_schools = TwoSchools::new(&suite).await;
        let target = &two_schools.own;
        let leaver = second_administrator(&target.school).await;
        let person = rpcs_of(Kind::is_person).into_iter().map(|rpc| (rpc, &leaver.client));
        let account = rpcs_of(|kind| kind == Kind::Account).into_iter();
        let account = account.map(|rpc| (rpc, &leaver.account.client));
        let mut calls = Vec::new();
        for (rpc, client) in person.chain(account) {
            // The sample of the administrator: only the caller differs.
            let (_, mut body) = samples::sample(&two_schools, target, Kind::Administrator, true, &rpc).await;
            if body.get("org_id").is_some() {
                body["org_id"] = json!(target.school.org_id);
            }
            calls.push((rpc, client, body));
        }
        assert!(calls.len() >= 50, "only {} RPCs name an organization", calls.len());
        remove(&target.school, &leaver).await;
        wait_until_applied(&two_schools).await;
        let mut wrong = Vec::new();
        for (rpc, client, body) in &calls {
            let other = OTHER_RESOURCES.iter().find(|(listed, _, _)| listed == rpc);
            let resource = other.map_or("organization", |(_, resource, _)| resource);
            let outcome = call_rpc(client, rpc, body.clone()).await;
            let outside = outcome.as_ref().is_err_and(|status| {
                let expected = parta_status::not_found(resource, "");
                reason(status) == expected.reason() && status.message() == expected.message()
            });
            if !outside {
                wrong.push(format!("{rpc}: {outcome:?}"));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        for (listed, _, why) in OTHER_RESOURCES {
            assert!(calls.iter().any(|(rpc, _, _)| rpc == listed), "{listed} names no organization");
            assert!(!why.is_empty(), "{listed} has no reason");
        }
    }
);

on_both_topologies!(
    /// Covers: R26 refused, R43 refused
    open_stream_ends_when_its_member_leaves, |suite: Suite| async move {
        let school = suite.school("Школа № 1").await;
        let leaver = second_administrator(&school).await;
        let import = json!({"roster_import_id": school.checked_import().await});
        let streams = [
            ("LiveService/SubscribeChats", json!({})),
            ("RosterImportService/WatchRosterImport", import),
        ];
        let mut open = Vec::new();
        for (rpc, body) in streams {
            let mut stream = leaver.client.open(rpc, body).await.unwrap();
            stream.next().await.unwrap().unwrap();
            open.push((rpc, stream));
        }
        remove(&school, &leaver).await;
        for (rpc, mut stream) in open {
            let end = async {
                loop {
                    match stream.next().await {
                        Some(Ok(_)) => {}
                        Some(Err(status)) => return reason(&status),
                        None => return "the stream ended without a status".to_owned(),
                    }
                }
            };
            let end = tokio::time::timeout(STREAM_END_MAX, end).await;
            assert_eq!(end.expect("the stream ends"), "PERMISSION_DENIED", "{rpc}");
        }
    }
);
