//! Calls at the edge: callers who have left, repetitions, and their records.
use parta_ids::{OrgId, Uuid};
use parta_proto_membership::v1::{MemberState, Role};
use parta_status::RpcError;
use parta_testkit::on_both;
use sea_orm::{ConnectionTrait as _, Statement};
use serde_json::{Value, json};

use crate::tests::fixture::{AUDIT_ENTRIES, Fixture, PDF, form};

const CREATE: &str = "UnitService/CreateUnit";

fn new_class(fixture: &Fixture, org: OrgId, label: &str) -> Value {
    json!({
        "request_id": fixture.request_id(),
        "org_id": org.to_string(),
        "kind": "UNIT_KIND_CLASS",
        "label": label,
    })
}

/// Returns the stored idempotency record of a request.
async fn record(fixture: &Fixture, request_id: &Value) -> String {
    let id: Uuid = request_id.as_str().unwrap().parse().unwrap();
    let sql = "SELECT response FROM idempotency_record WHERE request_id = $1";
    let statement = Statement::from_sql_and_values(fixture.db.backend(), sql, [id.into()]);
    let row = fixture.db.conn().query_one_raw(statement).await;
    let stored: Vec<u8> = row.unwrap().unwrap().try_get("", "response").unwrap();
    String::from_utf8(stored).unwrap()
}

on_both!(member_who_left_gets_not_found, |database| async move {
    let fixture = Fixture::open(database).await;
    let org = fixture.school(1).await;
    let (member, administrator) = fixture.admit(org, Role::Administrator, &[]).await;
    let created = fixture
        .expect_success(&administrator, CREATE, new_class(&fixture, org, "5А"))
        .await;
    let unit = &created["unit"]["id"];
    let organization = json!({"display_name": "Лицей"});
    let policies = json!({
        "org_id": org.to_string(),
        "policies": {"teacher_verification": "TEACHER_VERIFICATION_OPTIONAL"},
        "update_mask": "teacherVerification",
        "preview_etag": "0",
    });
    let change = json!({
        "org_id": org.to_string(),
        "policy_change_id": fixture.env.id::<parta_ids::PolicyChangeId>().to_string(),
        "preview_etag": "0",
    });
    let mut dropping = change.clone();
    dropping.as_object_mut().unwrap().remove("preview_etag");
    let mut preview = policies.clone();
    preview.as_object_mut().unwrap().remove("preview_etag");
    let org_id = org.to_string();
    let calls = [
        ("OrganizationService/GetOrganization", json!({"org_id": org_id})),
        (
            "OrganizationService/UpdateOrganization",
            json!({"org_id": org_id, "organization": organization, "update_mask": "displayName"}),
        ),
        ("PolicyService/PreviewPolicies", preview),
        ("PolicyService/UpdatePolicies", policies),
        ("PolicyService/ConfirmPolicyChange", change),
        ("PolicyService/DropPolicyChange", dropping),
        ("PolicyService/ListPolicyChanges", json!({"org_id": org_id})),
        (CREATE, new_class(&fixture, org, "5Б")),
        ("UnitService/GetUnit", json!({"org_id": org_id, "unit_id": unit})),
        ("UnitService/ListUnits", json!({"org_id": org_id})),
        (
            "UnitService/RenameUnit",
            json!({"org_id": org_id, "unit_id": unit, "label": "6А"}),
        ),
        (
            "UnitService/ArchiveUnit",
            json!({"org_id": org_id, "unit_id": unit}),
        ),
    ];
    fixture
        .change(org, member, MemberState::Left, Role::Administrator)
        .await;
    let rows = fixture.rows().await;
    for (rpc, body) in calls {
        let status = fixture.call(&administrator, rpc, body).await.unwrap_err();
        let refusal = RpcError::from_status(&status).unwrap();
        assert_eq!(refusal.reason(), "NOT_FOUND", "{rpc}");
        assert_eq!(
            status.message(),
            "There is no such organization, or you have no access to it.",
            "{rpc}"
        );
    }
    assert_eq!(fixture.rows().await, rows);
    fixture.close().await;
});

on_both!(
    /// Covers: R5 refused
    repetition_is_refused_without_the_permission,
    |database| async move {
        let fixture = Fixture::open(database).await;
        let org = fixture.school(1).await;
        let (member, head) = fixture.admit(org, Role::Head, &[]).await;
        let request = new_class(&fixture, org, "5А");
        fixture.expect_success(&head, CREATE, request.clone()).await;
        let mut other = request.clone();
        other["label"] = json!("5Б");
        for (state, reason) in [
            (MemberState::Active, "PERMISSION_DENIED"),
            (MemberState::Left, "NOT_FOUND"),
        ] {
            fixture.change(org, member, state, Role::Teacher).await;
            assert_eq!(fixture.expect_refusal(&head, CREATE, request.clone()).await.0, reason);
            // The caller does not learn whether the request_id was used.
            assert_eq!(fixture.expect_refusal(&head, CREATE, other.clone()).await.0, reason);
        }
        fixture.close().await;
    }
);

on_both!(
    /// Covers: R5 allowed
    repetition_returns_the_current_unit,
    |database| async move {
        let fixture = Fixture::open(database).await;
        let org = fixture.school(1).await;
        let head = fixture.member(org, Role::Head, &[]).await;
        let request = new_class(&fixture, org, "5А");
        let created = fixture.expect_success(&head, CREATE, request.clone()).await;
        let unit = json!({"org_id": org.to_string(), "unit_id": created["unit"]["id"]});
        let mut rename = unit.clone();
        rename["request_id"] = json!(fixture.request_id());
        rename["label"] = json!("6А");
        rename["etag"] = created["unit"]["etag"].clone();
        fixture.expect_success(&head, "UnitService/RenameUnit", rename.clone()).await;
        let mut archive = unit;
        archive["request_id"] = json!(fixture.request_id());
        let archived = fixture.expect_success(&head, "UnitService/ArchiveUnit", archive.clone()).await;
        let rows = fixture.rows().await;
        for (rpc, body) in [
            (CREATE, request),
            ("UnitService/RenameUnit", rename),
            ("UnitService/ArchiveUnit", archive),
        ] {
            let again = fixture.expect_success(&head, rpc, body).await;
            assert_eq!(again["unit"], archived["unit"], "{rpc}");
        }
        assert_eq!(fixture.rows().await, rows);
        fixture.close().await;
    }
);

on_both!(idempotency_records_contain_no_names, |database| async move {
    let fixture = Fixture::open(database).await;
    let submit = json!(fixture.request_id());
    let first = fixture
        .submit(submit.as_str().unwrap(), form(1), PDF)
        .await
        .unwrap();
    let second = fixture.submit(&fixture.request_id(), form(2), PDF).await.unwrap();
    let approve = json!({"request_id": fixture.request_id(), "application_id": first.application_id});
    let approved = fixture
        .expect_success(
            &fixture.operator,
            "ApplicationService/ApproveApplication",
            approve.clone(),
        )
        .await;
    let refuse = json!({
        "request_id": fixture.request_id(),
        "application_id": second.application_id,
        "reason": "Приказ без печати",
    });
    fixture
        .expect_success(
            &fixture.operator,
            "ApplicationService/RefuseApplication",
            refuse.clone(),
        )
        .await;
    let org: OrgId = approved["organization"]["id"].as_str().unwrap().parse().unwrap();
    let administrator = fixture.member(org, Role::Administrator, &[]).await;
    let create = new_class(&fixture, org, "5А");
    let created = fixture
        .expect_success(&administrator, CREATE, create.clone())
        .await;
    let update = json!({
        "request_id": fixture.request_id(),
        "org_id": org.to_string(),
        "organization": {"display_name": "Лицей"},
        "update_mask": "displayName",
    });
    fixture
        .expect_success(
            &administrator,
            "OrganizationService/UpdateOrganization",
            update.clone(),
        )
        .await;
    // The golden forms of the outcomes, which releases of the next 30 days must be able to decode.
    for (request_id, golden) in [
        (
            &submit,
            format!("\u{1}{{\"application_id\":\"{}\"}}", first.application_id),
        ),
        (&approve["request_id"], format!("\u{1}{{\"org_id\":\"{org}\"}}")),
        (&refuse["request_id"], "\u{1}null".to_owned()),
        (
            &create["request_id"],
            format!(
                "\u{1}{{\"unit_id\":\"{}\"}}",
                created["unit"]["id"].as_str().unwrap()
            ),
        ),
        (&update["request_id"], "\u{1}null".to_owned()),
    ] {
        assert_eq!(record(&fixture, request_id).await, golden);
    }
    fixture.close().await;
});

on_both!(reading_an_order_is_audited_once, |database| async move {
    let fixture = Fixture::open(database).await;
    // The order is stored in three rows.
    let mut order = PDF.to_vec();
    order.resize(600_000, b' ');
    let created = fixture
        .submit(&fixture.request_id(), form(1), &order)
        .await
        .unwrap();
    let before = fixture.rows().await;
    assert_eq!(fixture.download(&created.application_id).await, order);
    let sql = "SELECT object FROM audit_entry WHERE rpc LIKE '%/DownloadApplicationOrder'";
    let statement = Statement::from_string(fixture.db.backend(), sql);
    let rows = fixture.db.conn().query_all_raw(statement).await.unwrap();
    let objects: Vec<String> = rows
        .iter()
        .map(|row| row.try_get("", "object").unwrap())
        .collect();
    assert_eq!(
        objects,
        [format!("applications/{}/order", created.application_id)]
    );
    assert_eq!(fixture.rows().await[AUDIT_ENTRIES], before[AUDIT_ENTRIES] + 1);
    fixture.close().await;
});
