//! Service accounts over the public API: one permission for each feed, no personal chat in any of them, and
//! no act (R30, R80).
#![expect(clippy::unwrap_used, reason = "a test may panic")]
use std::collections::BTreeSet;

use parta_access::ServiceAccountPermission as Permission;
use parta_integration_tests::{Client, Person, School, Suite, on_both_topologies, reason};
use parta_proto::options::v1::CallerKind;
use parta_testkit::dynamic;
use serde_json::{Value, json};

use crate::protos;

/// The feeds and the permission of each.
const FEEDS: [(&str, Permission); 5] = [
    (
        "parta.org_registry.v1.OrgRegistryFeedService",
        Permission::OrgRegistryFeedRead,
    ),
    (
        "parta.membership.v1.MembershipFeedService",
        Permission::MembershipFeedRead,
    ),
    (
        "parta.invitation.v1.InvitationFeedService",
        Permission::InvitationFeedRead,
    ),
    ("parta.chat.v1.ChatFeedService", Permission::ChatFeedRead),
    (
        "parta.call_scheduling.v1.CallSchedulingFeedService",
        Permission::CallSchedulingFeedRead,
    ),
];

async fn system(school: &School, permissions: &[Permission]) -> Client {
    let names: Vec<_> = permissions.iter().map(|permission| permission.name()).collect();
    let by = &school.administrator.client;
    let wanted = json!({"display_name": "Журнал", "permissions": names});
    let made = by
        .must("ServiceAccountService/CreateServiceAccount", wanted)
        .await;
    let key = json!({"key": made["key"]});
    let issued = by
        .anonymous()
        .must("ServiceAccountService/IssueServiceAccountToken", key)
        .await;
    by.with(issued["access_token"].as_str().unwrap())
}

/// Reads a stream until it ends or reaches its first checkpoint, and returns its events.
async fn until_checkpoint(client: &Client, rpc: &str) -> Vec<Value> {
    let mut stream = client.open(rpc, json!({})).await.unwrap();
    let mut events = Vec::new();
    while let Some(item) = stream.message().await.unwrap() {
        let item = dynamic::json(&item);
        match item.get("event").filter(|event| event.is_object()) {
            Some(event) => events.push(event.clone()),
            None => break,
        }
    }
    events
}

/// All events that an account reads in all feeds, in each of the three ways.
async fn all_events(system: &Client) -> Vec<Value> {
    let mut events = Vec::new();
    for (service, _) in FEEDS {
        let mut cursor = json!("");
        loop {
            let page = system
                .must(&format!("{service}/Read"), json!({"cursor": cursor}))
                .await;
            let of_page = page["events"].as_array().unwrap();
            if of_page.is_empty() {
                break;
            }
            events.extend(of_page.iter().cloned());
            cursor = page["cursor"].clone();
        }
        events.extend(until_checkpoint(system, &format!("{service}/Watch")).await);
        events.extend(until_checkpoint(system, &format!("{service}/Snapshot")).await);
    }
    events
}

/// The chat of two people, with a message of each.
async fn personal_chat(one: &Person, other: &Person) -> String {
    let named = json!({"member_id": other.member_id});
    let made = one.client.must("ChatService/CreateDirectChat", named).await;
    let chat = made["chat"]["id"].as_str().unwrap().to_owned();
    for person in [one, other] {
        let text = json!({"chat_id": chat, "text": "Личное"});
        person.client.must("MessageService/SendMessage", text).await;
        let read = json!({"chat_id": chat, "seq": "1"});
        person.client.must("MessageService/MarkRead", read).await;
    }
    chat
}

on_both_topologies!(
    /// Covers: R30 refused, R80 refused, F16 refused
    feeds_show_no_personal_chat_to_a_service_account, |suite: Suite| async move {
        let school = suite.school("Школа № 1").await;
        let class = school.class("5А").await;
        let leader = school.class_teacher("Мария Кузнецова", &class).await;
        let colleague = school.teacher("Олег Быков").await;
        let pupil = school.pupil(&leader, "Пётр Сидоров", &class).await;
        let classmate = school.pupil(&leader, "Анна Белова", &class).await;
        let parent = school.parent(&leader, "Ольга Сидорова", &pupil, &class).await;
        let system = system(&school, &Permission::ALL).await;
        // The service has applied the roster when these calls succeed.
        leader.client.must("ChatService/ListChats", json!({})).await;
        let named = json!({"title": "Кружок", "member_ids": [pupil.member_id]});
        let named = leader.client.must("ChatService/CreateChat", named).await["chat"]["id"].clone();

        let chats = async || {
            let events = all_events(&system).await;
            events
                .into_iter()
                .filter(|event| event.to_string().contains("\"chat_id\""))
                .collect::<Vec<_>>()
        };
        let before = chats().await;
        assert!(before.iter().any(|event| event.to_string().contains(named.as_str().unwrap())));
        let personal = [
            personal_chat(&leader, &pupil).await,
            personal_chat(&pupil, &classmate).await,
            personal_chat(&parent, &pupil).await,
            personal_chat(&leader, &colleague).await,
        ];
        // A call of two people, and a chat that falls silent with the end of its ground.
        let plan = json!({
            "unit_id": class, "title": "Личная консультация", "kind": "CALL_KIND_CONSULTATION",
            "format": "CALL_FORMAT_ONLINE", "start_civil_time": "2027-01-12T09:00:00", "duration": "2700s",
            "participant_ids": [pupil.member_id], "announce": false,
        });
        let call = leader.client.must("CallService/PlanCall", plan).await["call"]["id"].clone();
        let colleague_leaves = json!({"member_id": colleague.member_id});
        school.administrator.client.must("MemberService/RemoveMember", colleague_leaves).await;
        leader.client.must("ChatService/ListChats", json!({})).await;

        let after = all_events(&system).await;
        let text = serde_json::to_string(&after).unwrap();
        for chat in &personal {
            assert!(!text.contains(chat), "a feed names the personal chat {chat}");
        }
        assert!(!text.contains("Личн"), "a feed has a text");
        // The feed has the call with its unit and its time, and no member id.
        let planned: Vec<_> = after.iter().filter(|event| event["call_planned"]["call_id"] == call).collect();
        assert!(!planned.is_empty());
        for event in planned {
            assert!(!event.to_string().contains("mbr_"), "{event}");
        }
        // Not even the log has moved for a personal chat: the only new events of chats are those of the
        // removed colleague.
        let new = after.iter().filter(|event| event.to_string().contains("\"chat_id\""));
        let joined = |event: &&Value| event["participant_joined"].is_object();
        let joined_before = before.iter().filter(joined).map(|event| event["participant_joined"].clone());
        let joined_before: BTreeSet<_> = joined_before.map(|of| of.to_string()).collect();
        for event in new.filter(joined) {
            assert!(joined_before.contains(&event["participant_joined"].to_string()), "{event}");
        }
    }
);

on_both_topologies!(
    /// Covers: R30 allowed, R30 refused
    each_permission_of_an_account_opens_its_own_rpcs_only, |suite: Suite| async move {
        let school = suite.school("Школа № 1").await;
        school.class("5А").await;
        for permission in Permission::ALL {
            let system = system(&school, &[permission]).await;
            for (service, needed) in FEEDS {
                for rpc in ["Read", "Watch", "Snapshot"] {
                    let rpc = format!("{service}/{rpc}");
                    let outcome = if rpc.ends_with("/Read") {
                        system.call(&rpc, json!({})).await.map(|_| ())
                    } else {
                        system.open(&rpc, json!({})).await.map(|_| ())
                    };
                    let refusal = outcome.err().map(|status| reason(&status));
                    let expected = (needed != permission).then_some("CALLER_NOT_ACCEPTED");
                    assert_eq!(refusal.as_deref(), expected, "{permission} at {rpc}");
                }
            }
            for rpc in ["MemberService/ListMembers", "UnitService/ListUnits"] {
                let refusal = system.call(rpc, json!({})).await.err().map(|status| reason(&status));
                let expected = (permission != Permission::RosterRead).then_some("CALLER_NOT_ACCEPTED");
                assert_eq!(refusal.as_deref(), expected, "{permission} at {rpc}");
            }
        }
    }
);

/// The access rules require exactly the permissions of the catalog, each feed for its own, and no RPC
/// that changes state accepts a service account (R80). An external system therefore cannot do for the
/// administrator who made it what needs a second person (F6).
///
/// Covers: R80 refused, F6 refused
#[test]
fn service_accounts_read_by_the_permissions_of_the_catalog() {
    let (mut required, mut wrong) = (BTreeSet::new(), Vec::new());
    for method in protos::methods() {
        let Some(rule) = protos::access(&method) else {
            continue;
        };
        if !rule.callers().any(|kind| kind == CallerKind::ServiceAccount) {
            continue;
        }
        let name = dynamic::name(&method);
        let reads = ["Get", "BatchGet", "List", "Read", "Watch", "Snapshot"];
        if rule.mutation || !reads.iter().any(|verb| method.name().starts_with(verb)) {
            wrong.push(format!("{name} changes state and accepts service accounts"));
        }
        let feed = FEEDS
            .iter()
            .find(|(service, _)| *service == method.parent_service().full_name());
        let expected = feed.map_or(Permission::RosterRead, |(_, permission)| *permission);
        if rule.permission != expected.name() {
            wrong.push(format!("{name} requires {}, not {expected}", rule.permission));
        }
        required.insert(rule.permission);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let catalog: BTreeSet<_> = Permission::ALL.iter().map(|of| of.name().to_owned()).collect();
    assert_eq!(required, catalog);
}

/// Every RPC that changes state, and every read that needs another principal, refuses an account that has all
/// permissions: verification, duties, relations, roles, assignments, links, imports, keys and addresses too.
///
/// Covers: R80 refused, R30 refused, R22 refused, R25 refused, R27 refused
#[test]
fn account_with_all_permissions_changes_nothing() {
    parta_testkit::run(async {
        let suite = Suite::one_process().await;
        let school = suite.school("Школа № 1").await;
        let system = system(&school, &Permission::ALL).await;
        let (mut mutations, mut wrong) = (0, Vec::new());
        for method in protos::methods() {
            let Some(rule) = protos::access(&method) else {
                continue;
            };
            let kinds: BTreeSet<_> = rule.callers().collect();
            let open = [CallerKind::Anonymous, CallerKind::ServiceAccount];
            if open.iter().any(|kind| kinds.contains(kind)) {
                continue;
            }
            mutations += usize::from(rule.mutation);
            let rpc = dynamic::name(&method);
            let outcome = if method.is_server_streaming() {
                system.open(&rpc, json!({})).await.map(|_| ())
            } else {
                system.call(&rpc, json!({})).await.map(|_| ())
            };
            let refusal = outcome.err().map(|status| reason(&status));
            if refusal.as_deref() != Some("CALLER_NOT_ACCEPTED") {
                wrong.push(format!("{rpc}: {refusal:?}"));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        assert!(
            mutations > 50,
            "only {mutations} RPCs that change state were called"
        );
        suite.stop().await;
    });
}
