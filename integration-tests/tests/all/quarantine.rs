//! The operator sees how far the consumers of every service are, and ends quarantines, by the API and by the
//! command line of docs/operations/quarantine.md.
#![expect(clippy::unwrap_used, reason = "a test may fail loudly")]
use parta_ids::{Env, EventId, JobId, OrgId, TypedId as _};
use parta_integration_tests::{Suite, reason};
use sea_orm::{ConnectionTrait as _, DatabaseConnection, Statement, Value as Sql};
use serde_json::{Value, json};

use crate::{
    command_line::{parta, text},
    jobs,
    operator_services::{api, audited, commands, database},
};

fn consumer(service: &str) -> String {
    let effect = if service == "membership" {
        "roster_organizations"
    } else {
        "roster_members"
    };
    format!("{}.{effect}", service.replace('-', "_"))
}

/// Inserts a quarantine and a cursor as a consumer leaves them, of an organization that the source does not
/// know. Returns a request that names them.
pub(crate) async fn insert(db: &DatabaseConnection, service: &str) -> Value {
    let env = Env::system();
    let (org, event, name): (OrgId, EventId, String) = (env.id(), env.id(), consumer(service));
    let run = async |sql: &str, values: Vec<Sql>| {
        let statement = Statement::from_sql_and_values(db.get_database_backend(), sql, values);
        db.execute_raw(statement).await.unwrap();
    };
    let sql = "INSERT INTO feed_cursor (org_id, consumer, cursor, position, event_id, update_time) \
               VALUES ($1, $2, '', 0, $3, $4)";
    let values: [Sql; 4] = [
        org.uuid().into(),
        name.as_str().into(),
        parta_ids::Uuid::nil().into(),
        env.now().into(),
    ];
    run(sql, values.to_vec()).await;
    let sql = "INSERT INTO feed_quarantine (org_id, consumer, position, event_id, event_kind, event_failure, \
               snapshot_failure, builds, quarantine_time) \
               VALUES ($1, $2, 7, $3, 'UnitCreated', 'cause of the event', 'cause of the snapshot', '', $4)";
    let values: [Sql; 4] = [
        org.uuid().into(),
        name.as_str().into(),
        event.uuid().into(),
        env.now().into(),
    ];
    run(sql, values.to_vec()).await;
    json!({"org_id": org.to_string(), "consumer": name, "event_id": event.to_string()})
}

fn named(of: &Value, event: bool) -> Value {
    let mut body = json!({"org_id": of["org_id"], "consumer": of["consumer"]});
    if event {
        body["event_id"] = of["event_id"].clone();
    }
    body
}

async fn operator_ends_quarantines(suite: &Suite, service: &str) {
    let (db, api, operator) = (
        database(suite, service).await,
        api(service, "QuarantineService"),
        suite.operator(),
    );
    let rpc = |name: &str| format!("{api}/{name}");
    let status = operator.must(&rpc("GetConsumerStatus"), json!({})).await;
    let names = status["consumers"].as_array().unwrap().iter();
    let names: Vec<_> = names.map(|one| one["consumer"].as_str().unwrap()).collect();
    assert!(names.contains(&consumer(service).as_str()), "{names:?}");

    let (retried, skipped) = (insert(&db, service).await, insert(&db, service).await);
    let rebuilt = insert(&db, service).await;
    let list = async || {
        let listed = operator.must(&rpc("ListQuarantines"), json!({})).await;
        let mut found: Vec<Value> = Vec::new();
        for one in listed["quarantines"].as_array().into_iter().flatten() {
            found.push(one["org_id"].clone());
        }
        found
    };
    let all: Vec<Value> = [&retried, &skipped, &rebuilt]
        .iter()
        .map(|one| one["org_id"].clone())
        .collect();
    let listed = list().await;
    assert!(all.iter().all(|org| listed.contains(org)));
    let first = operator
        .must(&rpc("ListQuarantines"), json!({"page_size": 1}))
        .await;
    let next = json!({"page_size": 1, "page_token": first["next_page_token"]});
    let second = operator.must(&rpc("ListQuarantines"), next).await;
    assert_ne!(first["quarantines"], second["quarantines"]);

    let explained = operator
        .must(&rpc("ExplainQuarantine"), named(&skipped, false))
        .await;
    let quarantine = &explained["quarantine"];
    assert_eq!(quarantine["event_id"], skipped["event_id"]);
    assert_eq!(quarantine["event_kind"], "UnitCreated");
    assert_eq!(quarantine["event_failure"], "cause of the event");
    assert_eq!(quarantine["snapshot_failure"], "cause of the snapshot");
    assert!(quarantine["quarantine_time"].is_string());

    let refused = async |name: &str, body: Value| {
        let refused = operator.call(&rpc(name), body).await.unwrap_err();
        reason(&refused)
    };
    let unknown = json!({"org_id": Env::system().id::<OrgId>().to_string(), "consumer": consumer(service)});
    for name in ["ExplainQuarantine", "RetryQuarantine", "RebuildProjection"] {
        assert_eq!(refused(name, unknown.clone()).await, "NOT_FOUND", "{name}");
        assert_eq!(
            refused(name, json!({"org_id": "org_x"})).await,
            "FIELD_INVALID",
            "{name}"
        );
    }
    let mut other = named(&skipped, true);
    other["event_id"] = json!(Env::system().id::<EventId>().to_string());
    assert_eq!(
        refused("SkipQuarantinedEvent", other.clone()).await,
        "EVENT_NOT_QUARANTINED"
    );
    other["org_id"] = unknown["org_id"].clone();
    assert_eq!(refused("SkipQuarantinedEvent", other).await, "NOT_FOUND");

    for (name, body) in [
        ("RetryQuarantine", named(&retried, false)),
        ("SkipQuarantinedEvent", named(&skipped, true)),
        ("RebuildProjection", named(&rebuilt, false)),
    ] {
        let mut body = body;
        body["request_id"] = json!(operator.request_id());
        // A repetition has no second effect.
        for _ in 0..2 {
            operator.must(&rpc(name), body.clone()).await;
        }
        let object = format!(
            "organizations/{}/consumers/{}",
            body["org_id"].as_str().unwrap(),
            consumer(service)
        );
        assert_eq!(audited(&db, name).await, [object], "{name}");
    }
    assert!(!list().await.contains(&retried["org_id"]));
}

mod operator_ends_quarantines_of_every_service {
    use super::*;

    #[test]
    fn one_process() {
        parta_testkit::run(async {
            parta_testkit::logs().allow("replacing a projection by a snapshot");
            let suite = Suite::one_process().await;
            for service in &parta::SERVICES {
                operator_ends_quarantines(&suite, service.name).await;
            }
            suite.stop().await;
        });
    }

    #[test]
    fn split() {
        parta_testkit::run(async {
            let suite = Suite::split(env!("CARGO_BIN_EXE_suite-process")).await;
            suite
                .expect_complaints(&["replacing a projection by a snapshot"])
                .await;
            for service in &parta::SERVICES {
                operator_ends_quarantines(&suite, service.name).await;
            }
            suite.stop().await;
        });
    }
}

/// Waits until each source has sent a heartbeat since the start. The doctor reports one that has not.
async fn sources_have_responded(suite: &Suite) {
    parta_testkit::eventually("each source has responded", async || {
        let output = parta(suite, &["doctor", "--output", "json"]).await;
        let document: Value = serde_json::from_slice(&output.stdout).unwrap();
        let findings = document["findings"].as_array().unwrap();
        let is_silent = findings.iter().any(|one| one["check"] == "heartbeat");
        (!is_silent).then_some(())
    })
    .await;
}

mod commands_of_the_document_about_quarantine_do_what_it_says {
    use super::*;

    #[test]
    fn one_process() {
        parta_testkit::run(async {
            parta_testkit::logs().allow("replacing a projection by a snapshot");
            let suite = Suite::one_process().await;
            let db = database(&suite, "chat").await;
            sources_have_responded(&suite).await;
            let healthy = parta(&suite, &["doctor"]).await;
            assert!(healthy.status.success(), "{}", text(&healthy.stdout));
            let commands = commands("docs/operations/quarantine.md");
            for act in ["list", "explain", "retry", "skip", "rebuild"] {
                let named = commands
                    .iter()
                    .any(|words| words[0] == "quarantine" && words[1] == act);
                assert!(named, "the document has no `parta quarantine {act}`");
            }
            for words in commands {
                let failed = insert(&db, "chat").await;
                let (org, event) = (
                    failed["org_id"].as_str().unwrap(),
                    failed["event_id"].as_str().unwrap(),
                );
                let words: Vec<&str> = words
                    .iter()
                    .map(|word| match word.as_str() {
                        "org_..." => org,
                        "evt_..." => event,
                        word => word,
                    })
                    .collect();
                let output = parta(&suite, &words).await;
                let printed = text(&output.stdout);
                if words[0] == "doctor" {
                    assert_eq!(output.status.code(), Some(5), "{printed}");
                    let advice = format!("parta quarantine explain {} {org}", consumer("chat"));
                    assert!(printed.contains(&advice), "{printed}");
                    continue;
                }
                assert!(output.status.success(), "{words:?}: {}", text(&output.stderr));
                match words[1] {
                    "list" => assert!(printed.contains(org), "{printed}"),
                    "explain" => {
                        assert!(
                            printed.contains(event) && printed.contains("cause of the event"),
                            "{printed}"
                        );
                    }
                    "retry" => assert!(printed.contains("tries again"), "{printed}"),
                    "skip" => assert!(printed.contains(event), "{printed}"),
                    _ => assert!(printed.contains("snapshot"), "{printed}"),
                }
            }
            suite.stop().await;
        });
    }
}

mod doctor_finds_what_is_wrong {
    use super::*;

    #[test]
    fn one_process() {
        parta_testkit::run(async {
            let suite = Suite::one_process().await;
            let db = database(&suite, "membership").await;
            let job = jobs::insert(&db, true, None).await;
            sources_have_responded(&suite).await;
            let output = parta(&suite, &["doctor", "--output", "json"]).await;
            assert_eq!(output.status.code(), Some(5));
            let document: Value = serde_json::from_slice(&output.stdout).unwrap();
            let findings = document["findings"].as_array().unwrap();
            assert_eq!(findings.len(), 1, "{findings:?}");
            assert_eq!(findings[0]["check"], "job");
            assert_eq!(
                findings[0]["advice"],
                format!("parta jobs retry membership {job}")
            );
            assert_eq!(findings[0]["page"], "docs/operations/jobs.md");
            // Every consumer of every service.
            assert_eq!(document["consumers"].as_array().unwrap().len(), 8);
            suite.stop().await;
        });
    }
}

/// Inserts an ending that was due a minute ago, and its job, which another replica runs.
async fn insert_overdue_ending(db: &DatabaseConnection) -> OrgId {
    let env = Env::system();
    let org: OrgId = env.id();
    let due = env.now() - chrono::TimeDelta::minutes(1);
    // The job comes first: an ending without one gets another job.
    let lease_end = (env.now() + chrono::TimeDelta::hours(1)).timestamp_millis();
    let sql = "INSERT INTO job (job_id, org_id, kind, payload, request_id, create_time, due_millis, attempts, \
               lease, lease_end_millis) VALUES ($1, $2, 'membership.end_due', $3, $4, $5, $6, 1, $7, $8)";
    let values: [Sql; 8] = [
        env.id::<JobId>().uuid().into(),
        org.uuid().into(),
        Vec::<u8>::new().into(),
        env.ids.uuid().into(),
        due.into(),
        due.timestamp_millis().into(),
        env.ids.uuid().into(),
        lease_end.into(),
    ];
    let statement = Statement::from_sql_and_values(db.get_database_backend(), sql, values);
    db.execute_raw(statement).await.unwrap();
    let sql = "INSERT INTO due_ending (org_id, kind, object_id, due_time) VALUES ($1, 1, $2, $3)";
    let values: [Sql; 3] = [org.uuid().into(), env.id::<OrgId>().uuid().into(), due.into()];
    let statement = Statement::from_sql_and_values(db.get_database_backend(), sql, values);
    db.execute_raw(statement).await.unwrap();
    org
}

mod doctor_finds_an_overdue_ending_once {
    use super::*;

    #[test]
    fn one_process() {
        parta_testkit::run(async {
            let suite = Suite::one_process().await;
            let db = database(&suite, "membership").await;
            let org = insert_overdue_ending(&db).await;
            // The heartbeats of the feed of membership name the organization.
            for service in ["chat", "invitation", "call-scheduling"] {
                let rpc = format!("{}/GetConsumerStatus", api(service, "QuarantineService"));
                parta_testkit::eventually("the consumer names the ending", async || {
                    let status = suite.operator().must(&rpc, json!({})).await;
                    let consumers = status["consumers"].as_array().unwrap();
                    let names = |one: &Value| {
                        one["overdue_endings"]
                            .as_array()
                            .is_some_and(|all| !all.is_empty())
                    };
                    consumers.iter().any(names).then_some(())
                })
                .await;
            }
            let output = parta(&suite, &["doctor", "--output", "json"]).await;
            assert_eq!(output.status.code(), Some(5));
            let document: Value = serde_json::from_slice(&output.stdout).unwrap();
            let findings = document["findings"].as_array().unwrap();
            assert_eq!(findings.len(), 1, "{findings:?}");
            assert_eq!(findings[0]["check"], "ending");
            assert_eq!(findings[0]["service"], "membership");
            assert!(findings[0]["text"].as_str().unwrap().contains(&org.to_string()));
            let advice = "parta jobs list membership --kind membership.end_due";
            assert_eq!(findings[0]["advice"], advice);
            let advised: Vec<&str> = advice.split(' ').skip(1).collect();
            assert!(parta(&suite, &advised).await.status.success());
            assert_eq!(findings[0]["page"], "docs/operations/quarantine.md");
            suite.stop().await;
        });
    }
}
