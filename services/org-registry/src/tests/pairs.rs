//! Every pair of mutations that touch one row, at the same time, on PostgreSQL. SQLite has one writer.
use std::sync::atomic::{AtomicU64, Ordering};

use parta_ids::{ApplicationId, OrgId, PolicyChangeId, TypedId as _, UnitId, Uuid};
use parta_proto_membership::v1::Role;
use parta_service_testkit::Races;
use parta_testkit::{TestDatabase, on_postgres};
use serde_json::{Value, json};
use tonic::Status;

use crate::tests::fixture::{Credential, Fixture, PDF, form};

/// Another number with each call.
fn next() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(100);
    NEXT.fetch_add(1, Ordering::SeqCst)
}

/// An organization and its head.
struct School {
    fixture: Fixture,
    org: OrgId,
    head: Credential,
}

/// A class and a label that no unit has.
struct Class {
    id: Uuid,
    free: String,
}

impl School {
    async fn act(&self, rpc: &str, mut body: Value) -> Result<(), Status> {
        body["org_id"] = json!(self.org.to_string());
        self.fixture.call(&self.head, rpc, body).await.map(|_| ())
    }

    async fn class(&self) -> Class {
        let label = format!("{} класс", next());
        let body = json!({"org_id": self.org.to_string(), "kind": "UNIT_KIND_CLASS", "label": label});
        let created = self
            .fixture
            .expect_success(&self.head, "UnitService/CreateUnit", body)
            .await;
        let id: UnitId = created["unit"]["id"].as_str().unwrap().parse().unwrap();
        Class {
            id: id.uuid(),
            free: format!("{} класс", next()),
        }
    }
}

fn unit(class: &Class) -> String {
    UnitId::from_uuid(class.id).to_string()
}

on_postgres!(
    /// Covers: R5 allowed, R5 refused
    pairs_about_one_unit_end_as_in_a_serial_order,
    "SQLite has one writer",
    |database: TestDatabase| async move {
        let url = database.url().to_owned();
        let fixture = Fixture::open(database).await;
        let org = fixture.school(1).await;
        let head = fixture.member(org, Role::Head, &[]).await;
        let school = School { fixture, org, head };
        let races = Races::<School, Class> {
            acts: vec![
                ("RenameUnit", |school, class| Box::pin(async move {
                    school.act("UnitService/RenameUnit", json!({"unit_id": unit(class), "label": class.free})).await
                })),
                ("ArchiveUnit", |school, class| Box::pin(async move {
                    school.act("UnitService/ArchiveUnit", json!({"unit_id": unit(class)})).await
                })),
                ("CreateUnit", |school, class| Box::pin(async move {
                    let body = json!({"kind": "UNIT_KIND_CLASS", "label": class.free});
                    school.act("UnitService/CreateUnit", body).await
                })),
            ],
            subject: |school| Box::pin(school.class()),
            barrier: |_| vec!["LOCK TABLE unit IN EXCLUSIVE MODE".to_owned()],
            compares_reasons: true,
            state: |class| vec![
                format!(
                    "SELECT CONCAT_WS(' ', label = '{}', archive_time IS NULL) FROM unit WHERE unit_id = '{}'",
                    class.free, class.id
                ),
                format!("SELECT COUNT(*)::TEXT FROM unit WHERE label = '{}'", class.free),
            ],
        };
        races.run(&school, &url).await;
        school.fixture.close().await;
    }
);

/// A submitted application, by the number of its form.
struct Submitted {
    number: u64,
    id: ApplicationId,
}

async fn submit(fixture: &Fixture, number: u64) -> Result<ApplicationId, Status> {
    let made = fixture.submit(&fixture.request_id(), form(number), PDF).await?;
    Ok(made.application_id.parse().unwrap())
}

async fn decide(fixture: &Fixture, rpc: &str, mut body: Value, of: &Submitted) -> Result<(), Status> {
    body["application_id"] = json!(of.id.to_string());
    fixture.call(&fixture.operator, rpc, body).await.map(|_| ())
}

on_postgres!(
    /// Covers: R2 allowed, R2 refused
    pairs_about_one_application_end_as_in_a_serial_order,
    "SQLite has one writer",
    |database: TestDatabase| async move {
        let url = database.url().to_owned();
        let fixture = Fixture::open(database).await;
        let races = Races::<Fixture, Submitted> {
            acts: vec![
                ("ApproveApplication", |fixture, of| {
                    Box::pin(decide(fixture, "ApplicationService/ApproveApplication", json!({}), of))
                }),
                ("RefuseApplication", |fixture, of| {
                    let body = json!({"reason": "Нет печати"});
                    Box::pin(decide(fixture, "ApplicationService/RefuseApplication", body, of))
                }),
            ],
            subject: |fixture| Box::pin(async move {
                let number = next();
                Submitted { number, id: submit(fixture, number).await.unwrap() }
            }),
            barrier: |_| vec!["LOCK TABLE application IN EXCLUSIVE MODE".to_owned()],
            compares_reasons: true,
            state: |of| vec![
                format!("SELECT state::TEXT FROM application WHERE application_id = '{}'", of.id.uuid()),
                format!("SELECT COUNT(*)::TEXT FROM organization WHERE ogrn = '{}'", form(of.number).ogrn),
                format!("SELECT COUNT(*)::TEXT FROM job WHERE request_id = '{}'", of.id.uuid()),
            ],
        };
        races.run(&fixture, &url).await;
        // Two applications of one organization: the second waits for the first and is refused.
        let races = Races::<Fixture, u64> {
            acts: vec![("SubmitApplication", |fixture, number| Box::pin(async move {
                submit(fixture, *number).await.map(|_| ())
            }))],
            subject: |_| Box::pin(async { next() }),
            barrier: |_| vec!["LOCK TABLE application IN EXCLUSIVE MODE".to_owned()],
            compares_reasons: true,
            state: |number| vec![format!(
                "SELECT COUNT(*)::TEXT FROM application WHERE ogrn = '{}'",
                form(*number).ogrn
            )],
        };
        races.run(&fixture, &url).await;
        fixture.close().await;
    }
);

/// An organization with two persons, whose policies one requests to widen.
struct TwoPersons {
    fixture: Fixture,
    org: OrgId,
    administrator: Credential,
    head: Credential,
}

/// A pending change, and a preview of one that narrows.
struct Waiting {
    id: PolicyChangeId,
    etag: Value,
    narrowing: Value,
}

impl TwoPersons {
    async fn preview(&self, mut body: Value) -> Value {
        body["org_id"] = json!(self.org.to_string());
        let rpc = "PolicyService/PreviewPolicies";
        let preview = self
            .fixture
            .expect_success(&self.administrator, rpc, body.clone())
            .await;
        body["preview_etag"] = preview["preview_etag"].clone();
        body
    }

    /// Drops the pending changes and requests a new one.
    async fn waiting(&self) -> Waiting {
        let own = json!({"org_id": self.org.to_string(), "pending_only": true});
        let list = "PolicyService/ListPolicyChanges";
        let listed = self.fixture.expect_success(&self.head, list, own).await;
        for change in listed["changes"].as_array().unwrap() {
            let drop = json!({"org_id": self.org.to_string(), "policy_change_id": change["id"]});
            let rpc = "PolicyService/DropPolicyChange";
            self.fixture.expect_success(&self.head, rpc, drop).await;
        }
        let verification = |value: &str| {
            let value = format!("TEACHER_VERIFICATION_{value}");
            json!({"policies": {"teacher_verification": value}, "update_mask": "teacherVerification"})
        };
        let update = "PolicyService/UpdatePolicies";
        let required = self.preview(verification("REQUIRED")).await;
        self.fixture
            .expect_success(&self.administrator, update, required)
            .await;
        let optional = self.preview(verification("OPTIONAL")).await;
        let updated = self
            .fixture
            .expect_success(&self.administrator, update, optional)
            .await;
        let change = &updated["pending_change"];
        let hours = format!("{}s", 7_200 + next());
        let other = json!({"policies": {"unused_after": hours}, "update_mask": "unusedAfter"});
        Waiting {
            id: change["id"].as_str().unwrap().parse().unwrap(),
            etag: change["preview_etag"].clone(),
            narrowing: self.preview(other).await,
        }
    }

    async fn act(&self, by: &Credential, rpc: &str, mut body: Value) -> Result<(), Status> {
        body["org_id"] = json!(self.org.to_string());
        self.fixture.call(by, rpc, body).await.map(|_| ())
    }
}

on_postgres!(
    /// Covers: R84 allowed, R84 refused
    pairs_about_one_policy_end_as_in_a_serial_order,
    "SQLite has one writer",
    |database: TestDatabase| async move {
        let url = database.url().to_owned();
        let fixture = Fixture::open(database).await;
        let org = fixture.school(1).await;
        let administrator = fixture.member(org, Role::Administrator, &[]).await;
        let head = fixture.member(org, Role::Head, &[]).await;
        let school = TwoPersons { fixture, org, administrator, head };
        let races = Races::<TwoPersons, Waiting> {
            acts: vec![
                ("ConfirmPolicyChange", |school, of| Box::pin(async move {
                    let body = json!({"policy_change_id": of.id.to_string(), "preview_etag": of.etag});
                    school.act(&school.head, "PolicyService/ConfirmPolicyChange", body).await
                })),
                ("DropPolicyChange", |school, of| Box::pin(async move {
                    let body = json!({"policy_change_id": of.id.to_string()});
                    school.act(&school.head, "PolicyService/DropPolicyChange", body).await
                })),
                ("UpdatePolicies", |school, of| Box::pin(async move {
                    school.act(&school.administrator, "PolicyService/UpdatePolicies", of.narrowing.clone()).await
                })),
            ],
            subject: |school| Box::pin(school.waiting()),
            barrier: |_| vec!["LOCK TABLE organization IN EXCLUSIVE MODE".to_owned()],
            compares_reasons: true,
            state: |of| vec![format!(
                "SELECT CONCAT_WS(' ', policies_version IS NULL, drop_time IS NULL) FROM policy_change \
                 WHERE policy_change_id = '{}'",
                of.id.uuid()
            )],
        };
        races.run(&school, &url).await;
        school.fixture.close().await;
    }
);
