//! The operator lists, retries and drops the jobs of every service, by the API and by the command line of
//! docs/operations/jobs.md.
#![expect(clippy::unwrap_used, reason = "a test may fail loudly")]
use chrono::{DateTime, TimeDelta, Utc};
use parta_ids::{Env, JobId, OrgId, TypedId as _};
use parta_integration_tests::{Suite, reason};
use sea_orm::{ConnectionTrait as _, DatabaseConnection, Statement, Value as Sql};
use serde_json::{Value, json};

use crate::{
    command_line::{parta, text},
    operator_services::{api, audited, commands, database},
};

/// A kind without a handler, so that no runner takes the jobs of the test.
const KIND: &str = "test.unhandled";

/// Inserts a job as an earlier release may have left it: failed, or waiting for a distant time.
pub(crate) async fn insert(db: &DatabaseConnection, failed: bool, org: Option<OrgId>) -> String {
    let env = Env::system();
    let (id, now): (JobId, DateTime<Utc>) = (env.id(), env.now());
    let due = (!failed).then(|| now + TimeDelta::days(9000));
    let values: [Sql; 9] = [
        id.uuid().into(),
        org.map(OrgId::uuid).into(),
        KIND.into(),
        b"payload".to_vec().into(),
        env.ids.uuid().into(),
        now.into(),
        due.map(|due| due.timestamp_millis()).into(),
        failed.then(|| "membership: Internal INTERNAL".to_owned()).into(),
        failed.then_some(now).into(),
    ];
    let sql = "INSERT INTO job (job_id, org_id, kind, payload, request_id, create_time, due_millis, attempts, \
               failure, fail_time) VALUES ($1, $2, $3, $4, $5, $6, $7, 50, $8, $9)";
    let statement = Statement::from_sql_and_values(db.get_database_backend(), sql, values);
    db.execute_raw(statement).await.unwrap();
    id.to_string()
}

fn ids(response: &Value) -> Vec<String> {
    let jobs = response["jobs"].as_array().unwrap();
    jobs.iter()
        .map(|job| job["id"].as_str().unwrap().to_owned())
        .collect()
}

async fn operator_manages_jobs(suite: &Suite, service: &str) {
    let (db, api, operator) = (
        database(suite, service).await,
        api(service, "JobService"),
        suite.operator(),
    );
    let rpc = |name: &str| format!("{api}/{name}");
    let org = Env::system().id::<OrgId>();
    let failed = insert(&db, true, Some(org)).await;
    let unwanted = insert(&db, true, None).await;
    let waiting = insert(&db, false, None).await;

    let list = async |body: Value| operator.must(&rpc("ListJobs"), body).await;
    let of_kind = json!({"kind": KIND});
    assert_eq!(ids(&list(of_kind).await), [&*failed, &*unwanted, &*waiting]);
    let only = json!({"state": "JOB_STATE_FAILED", "org_id": org.to_string()});
    let found = list(only).await;
    assert_eq!(ids(&found), [&*failed]);
    let job = &found["jobs"][0];
    assert_eq!(
        (
            &job["attempts"],
            &job["failure"],
            &job["kind"],
            job.get("payload")
        ),
        (
            &json!(50),
            &json!("membership: Internal INTERNAL"),
            &json!(KIND),
            None
        )
    );
    assert!(job["fail_time"].is_string() && job["due_time"].is_null(), "{job}");
    let first = list(json!({"kind": KIND, "page_size": 2})).await;
    let next = json!({"kind": KIND, "page_size": 2, "page_token": first["next_page_token"]});
    assert_eq!(ids(&list(next).await), [&*waiting]);
    let wrong = json!({"state": 9, "org_id": "org_x", "page_size": -1});
    let refused = operator.call(&rpc("ListJobs"), wrong).await.unwrap_err();
    let fields = parta_status::RpcError::from_status(&refused).unwrap();
    let fields: Vec<_> = fields.fields().iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(fields, ["state", "org_id", "page_size"]);

    // A repetition has no second effect, and returns the job as it is now.
    let act = json!({"request_id": operator.request_id(), "job_id": failed});
    let retried = operator.must(&rpc("RetryJob"), act.clone()).await;
    let job = &retried["job"];
    assert_eq!(
        (&job["state"], &job["attempts"]),
        (&json!("JOB_STATE_WAITING"), &json!(0))
    );
    assert!(job["due_time"].is_string() && job["fail_time"].is_null(), "{job}");
    assert_eq!(operator.must(&rpc("RetryJob"), act).await["job"], *job);
    for name in ["RetryJob", "DropJob"] {
        let by = async |id: &str| {
            let refused = operator.call(&rpc(name), json!({"job_id": id})).await;
            reason(&refused.unwrap_err())
        };
        assert_eq!(by(&waiting).await, "JOB_NOT_FAILED");
        assert_eq!(by(&Env::system().id::<JobId>().to_string()).await, "NOT_FOUND");
        assert_eq!(by("job_x").await, "FIELD_INVALID");
    }

    let act = json!({"request_id": operator.request_id(), "job_id": unwanted});
    for _ in 0..2 {
        operator.must(&rpc("DropJob"), act.clone()).await;
    }
    assert_eq!(ids(&list(json!({"kind": KIND})).await), [&*failed, &*waiting]);
    assert_eq!(
        audited(&db, "RetryJob").await,
        [format!("organizations/{org}/jobs/{failed}")]
    );
    assert_eq!(audited(&db, "DropJob").await, [format!("jobs/{unwanted}")]);
}

mod operator_retries_and_drops_failed_jobs_of_every_service {
    use super::*;

    #[test]
    fn one_process() {
        parta_testkit::run(async {
            let suite = Suite::one_process().await;
            for service in &parta::SERVICES {
                operator_manages_jobs(&suite, service.name).await;
            }
            suite.stop().await;
        });
    }

    #[test]
    fn split() {
        parta_testkit::run(async {
            let suite = Suite::split(env!("CARGO_BIN_EXE_suite-process")).await;
            for service in &parta::SERVICES {
                operator_manages_jobs(&suite, service.name).await;
            }
            suite.stop().await;
        });
    }
}

mod commands_of_the_document_about_jobs_do_what_it_says {
    use super::*;

    #[test]
    fn one_process() {
        parta_testkit::run(async {
            let suite = Suite::one_process().await;
            let db = database(&suite, "membership").await;
            let org = Env::system().id::<OrgId>().to_string();
            let commands = commands("docs/operations/jobs.md");
            let acts = ["list", "retry", "drop"];
            for act in acts {
                let named = commands.iter().any(|words| words[0] == "jobs" && words[1] == act);
                assert!(named, "the document has no `parta jobs {act}`");
            }
            for words in commands {
                let failed = insert(&db, true, None).await;
                let words: Vec<&str> = words
                    .iter()
                    .map(|word| match word.as_str() {
                        "job_..." => failed.as_str(),
                        "org_..." => org.as_str(),
                        word => word,
                    })
                    .collect();
                let output = parta(&suite, &words).await;
                let printed = text(&output.stdout);
                assert!(output.status.success(), "{words:?}: {}", text(&output.stderr));
                match words[1] {
                    "retry" => assert!(printed.contains("WAITING"), "{printed}"),
                    "drop" => assert!(printed.contains(&failed), "{printed}"),
                    _ if words == ["jobs", "list"] || words.ends_with(&["failed"]) => {
                        assert!(
                            printed.contains(&failed) && printed.contains("INTERNAL"),
                            "{printed}"
                        );
                    }
                    _ => assert_eq!(printed.trim(), "no such jobs"),
                }
            }
            suite.stop().await;
        });
    }
}
