//! An ended session and a revoked service account are refused by every replica of every service within two
//! seconds (R29, R30). No feed is involved.
#![expect(clippy::unwrap_used, reason = "a test may panic")]
use std::time::{Duration, Instant};

use parta_integration_tests::{Client, Person, School, Suite, on_both_topologies, reason};
use parta_testkit::{dynamic, eventually};
use sea_orm::{ConnectionTrait as _, Database, TransactionTrait as _};
use serde_json::{Value, json};

const PROMISED: Duration = Duration::from_secs(2);

/// A read of a member at each service.
const READS: [(&str, &str); 5] = [
    ("org-registry", "parta.org_registry.v1.UnitService/ListUnits"),
    ("membership", "parta.membership.v1.MemberService/ListMembers"),
    (
        "invitation",
        "parta.invitation.v1.InvitationService/ListInvitations",
    ),
    ("chat", "parta.chat.v1.ChatService/ListChats"),
    (
        "call-scheduling",
        "parta.call_scheduling.v1.CallService/ListOccurrences",
    ),
];

/// Makes one attempt, without the retries of [`Client::call`], and returns the reason of the refusal.
async fn refusal(client: &Client, rpc: &str) -> Option<String> {
    let body = json!({"org_id": client.org_id().unwrap()});
    let response = client.once(&dynamic::method(rpc), body).await;
    response.err().map(|status| reason(&status))
}

/// Waits until the calls are refused as revoked, which must be within the promised time since `since`.
async fn refused_soon(client: &Client, rpc: &str, since: Instant) {
    let what = format!("the refusal of {rpc}");
    eventually(&what, async || {
        let refusal = refusal(client, rpc).await;
        if refusal.as_deref() == Some("CREDENTIAL_REVOKED") {
            return Some(());
        }
        let late = since.elapsed() >= PROMISED;
        assert!(
            !late,
            "{rpc} is not refused after {:?}: {refusal:?}",
            since.elapsed()
        );
        None
    })
    .await;
}

/// The clients of a caller at all replicas, with the RPC to call.
fn everywhere(client: &Client, replicas: &[(&str, &str)]) -> Vec<(Client, &'static str)> {
    let own = READS.map(|(_, rpc)| (client.clone(), rpc));
    let more = replicas.iter().map(|(name, service)| {
        let rpc = READS.iter().find(|(of, _)| of == service).unwrap().1;
        (client.at(service, name), rpc)
    });
    own.into_iter().chain(more).collect()
}

/// An external system with two keys.
struct System {
    /// The request that revokes the account.
    revoke: Value,
    /// The request that revokes the first key only.
    revoke_first: Value,
    /// A client for each key.
    first: Client,
    second: Client,
}

impl System {
    async fn new(school: &School) -> Self {
        let by = &school.administrator.client;
        let permissions = ["roster.read", "membership_feed.read"];
        let wanted = json!({"display_name": "Журнал", "permissions": permissions});
        let made = by
            .must("ServiceAccountService/CreateServiceAccount", wanted)
            .await;
        let account = &made["service_account"];
        let revoke = json!({"service_account_id": account["id"]});
        let rotated = by
            .must("ServiceAccountService/RotateServiceAccountKey", revoke.clone())
            .await;
        let client = async |key: &Value| {
            let issued = by
                .anonymous()
                .must(
                    "ServiceAccountService/IssueServiceAccountToken",
                    json!({"key": key}),
                )
                .await;
            by.with(issued["access_token"].as_str().unwrap())
        };
        Self {
            revoke_first: json!({
                "service_account_id": account["id"], "key_id": account["keys"][0]["id"],
            }),
            revoke,
            first: client(&made["key"]).await,
            second: client(&rotated["key"]).await,
        }
    }
}

async fn end_session(of: &Person, at: &str) {
    let client = of.account.client.at("membership", at);
    client.must("AuthenticationService/EndSession", json!({})).await;
}

on_both_topologies!(
    /// Covers: R29 allowed, R30 allowed
    revoked_credential_is_refused_by_all_services, |suite: Suite| async move {
        let school = suite.school("Школа № 1").await;
        let system = System::new(&school).await;
        // The roster is readable for systems at two services.
        let reads = &READS[..2];
        let by = &school.administrator;
        for (request, rpc, revoked, other) in [
            (
                system.revoke_first,
                "ServiceAccountService/RevokeServiceAccountKey",
                &system.first,
                Some(&system.second),
            ),
            (system.revoke, "ServiceAccountService/RevokeServiceAccount", &system.second, None),
        ] {
            for (_, rpc) in reads {
                assert_eq!(refusal(revoked, rpc).await, None, "{rpc}");
            }
            by.client.must(rpc, request).await;
            let since = Instant::now();
            for (_, rpc) in reads {
                refused_soon(revoked, rpc, since).await;
            }
            // The tokens of the other key stay valid.
            for (_, rpc) in reads {
                assert_eq!(match other {
                    Some(other) => refusal(other, rpc).await,
                    None => None,
                }, None, "{rpc}");
            }
        }
        for (_, rpc) in READS {
            let refusal = refusal(&by.client, rpc).await;
            assert_ne!(refusal.as_deref(), Some("CREDENTIAL_REVOKED"), "{rpc}");
        }
        end_session(by, "membership").await;
        let since = Instant::now();
        for (_, rpc) in READS {
            refused_soon(&by.client, rpc, since).await;
        }
    }
);

/// Covers: R29 allowed
mod revocation_reaches_every_replica {
    use super::*;

    #[test]
    fn split() {
        parta_testkit::run(async {
            let suite = Suite::doubled(env!("CARGO_BIN_EXE_suite-process")).await;
            let school = suite.school("Школа № 1").await;
            let class = school.class("5А").await;
            let leader = school.class_teacher("Мария Кузнецова", &class).await;
            let administrator = school.administrator.client.on_its_own();
            let external = System::new(&school).await;
            let system = external.first.clone();
            let system_at_2 = system.at("membership", "membership-2");
            assert_eq!(refusal(&system_at_2, READS[1].1).await, None);
            let watch = "MembershipFeedService/Watch";
            let mut of_first = system.open(watch, json!({})).await.unwrap();
            let mut of_second = external.second.open(watch, json!({})).await.unwrap();
            for of in [&mut of_first, &mut of_second] {
                of.message().await.unwrap().unwrap();
            }
            let at_chat_2 = leader.client.at("chat", "chat-2");
            let opened = at_chat_2.open("LiveService/SubscribeChats", json!({})).await;
            let mut stream = opened.unwrap();
            stream.message().await.unwrap().unwrap();

            // No consumer of chat can move its cursor while another transaction holds the table.
            let services = parta::SERVICES.map(|service| service.name);
            let chat = services.iter().position(|name| *name == "chat").unwrap();
            let database = Database::connect(&suite.database_urls().await[chat])
                .await
                .unwrap();
            let lock = database.begin().await.unwrap();
            lock.execute_unprepared("LOCK TABLE feed_cursor IN EXCLUSIVE MODE")
                .await
                .unwrap();
            administrator
                .must(
                    "UnitService/CreateUnit",
                    json!({"kind": "UNIT_KIND_CLASS", "label": "6Б"}),
                )
                .await;
            let behind = refusal(&administrator, READS[3].1).await;
            assert_eq!(behind.as_deref(), Some("BEHIND_CONSISTENCY_TOKEN"));

            end_session(&leader, "membership-2").await;
            let since = Instant::now();
            let stays_open = async {
                loop {
                    if let Err(end) = stream.message().await.transpose().unwrap() {
                        return end;
                    }
                }
            };
            let end = tokio::time::timeout(PROMISED, stays_open).await.unwrap();
            assert_eq!(reason(&end), "CREDENTIAL_REVOKED");
            let replicas = [("membership-2", "membership"), ("chat-2", "chat")];
            for (client, rpc) in everywhere(&leader.client, &replicas) {
                refused_soon(&client, rpc, since).await;
            }
            lock.rollback().await.unwrap();

            let at_2 = administrator.at("membership", "membership-2");
            let revoke = external.revoke_first;
            at_2.must("ServiceAccountService/RevokeServiceAccountKey", revoke)
                .await;
            let since = Instant::now();
            // The stream at the other replica ends with its key. That of the other key continues.
            let ends = async {
                loop {
                    if let Err(end) = of_first.message().await.transpose().unwrap() {
                        return end;
                    }
                }
            };
            let end = tokio::time::timeout(PROMISED, ends).await.unwrap();
            assert_eq!(reason(&end), "CREDENTIAL_REVOKED");
            assert_eq!(refusal(&external.second, READS[1].1).await, None);
            school.class("7В").await;
            of_second.message().await.unwrap().unwrap();
            for (client, rpc) in [
                (&system, READS[0].1),
                (&system, READS[1].1),
                (&system_at_2, READS[1].1),
            ] {
                refused_soon(client, rpc, since).await;
            }

            // New processes learn it before they accept anybody.
            for name in ["chat-2", "membership"] {
                suite.kill(name).await;
                suite.restart(name).await;
            }
            suite
                .expect_complaints(&["feed interrupted", "no replica can be reached"])
                .await;
            for (client, rpc) in [
                (&at_chat_2, "ChatService/ListChats"),
                (&leader.client, "MemberService/ListMembers"),
                (&system, "MemberService/ListMembers"),
            ] {
                let refused = client.refused(rpc, json!({})).await;
                assert_eq!(refused.reason, "CREDENTIAL_REVOKED", "{rpc}");
            }
            let open = administrator
                .refused("AuthenticationService/ListSessions", json!({}))
                .await;
            assert_eq!(open.reason, "CALLER_NOT_ACCEPTED", "others go on");
            suite.stop().await;
        });
    }
}
