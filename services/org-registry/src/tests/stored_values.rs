//! Stored values that this build does not know.
use parta_ids::TypedId as _;
use parta_proto_membership::v1::Role;
use parta_testkit::on_both;
use serde_json::json;
use tonic::Code;

use crate::tests::fixture::{Credential, Fixture, PDF, form, reason_and_fields};

async fn is_unavailable(fixture: &Fixture, credential: &Credential, rpc: &str, body: serde_json::Value) {
    let status = fixture.call(credential, rpc, body).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{rpc}");
    assert_eq!(reason_and_fields(&status).0, "STORED_VALUE_UNKNOWN", "{rpc}");
}

on_both!(
    unknown_value_of_an_organization_is_unavailable,
    |database| async move {
        parta_testkit::logs().allow("a stored value is not known to this build");
        let fixture = Fixture::open(database).await;
        let get = "OrganizationService/GetOrganization";
        let unaffected = fixture.school(1).await;
        for (number, assignment) in [
            (2, "kind = 77"),
            (3, "kind = 0"),
            (4, "unused_after_seconds = -1"),
            (5, "history_for_newcomers = 77"),
        ] {
            let org = fixture.school(number).await;
            let (administrator, body) = (
                fixture.member(org, Role::Administrator, &[]).await,
                json!({"org_id": org.to_string()}),
            );
            fixture.expect_success(&administrator, get, body.clone()).await;
            fixture
                .change_row("organization", assignment, "org_id", org.uuid())
                .await;
            is_unavailable(&fixture, &administrator, get, body.clone()).await;
            let mut update = body;
            update["organization"] = json!({"display_name": "Лицей"});
            update["update_mask"] = json!("displayName");
            is_unavailable(
                &fixture,
                &administrator,
                "OrganizationService/UpdateOrganization",
                update,
            )
            .await;
        }
        // Another organization is not affected.
        let pupil = fixture.member(unaffected, Role::Pupil, &[]).await;
        fixture
            .expect_success(&pupil, get, json!({"org_id": unaffected.to_string()}))
            .await;
        fixture.close().await;
    }
);

on_both!(unknown_kind_of_a_unit_is_unavailable, |database| async move {
    parta_testkit::logs().allow("a stored value is not known to this build");
    let fixture = Fixture::open(database).await;
    let org = fixture.school(1).await;
    let administrator = fixture.member(org, Role::Administrator, &[]).await;
    let request = json!({"org_id": org.to_string(), "kind": "UNIT_KIND_CLASS", "label": "5А"});
    let created = fixture
        .expect_success(&administrator, "UnitService/CreateUnit", request)
        .await;
    let unit: parta_ids::UnitId = created["unit"]["id"].as_str().unwrap().parse().unwrap();
    fixture
        .change_row("unit", "kind = 77", "unit_id", unit.uuid())
        .await;
    let body = json!({"org_id": org.to_string(), "unit_id": unit.to_string()});
    is_unavailable(&fixture, &administrator, "UnitService/GetUnit", body.clone()).await;
    is_unavailable(&fixture, &administrator, "UnitService/ArchiveUnit", body).await;
    let list = json!({"org_id": org.to_string()});
    is_unavailable(&fixture, &administrator, "UnitService/ListUnits", list).await;
    fixture.close().await;
});

on_both!(
    unknown_value_of_an_application_is_unavailable,
    |database| async move {
        parta_testkit::logs().allow("a stored value is not known to this build");
        let fixture = Fixture::open(database).await;
        for (number, assignment) in [
            (1, "state = 77"),
            (2, "state = 0"),
            (3, "kind = 77"),
            (4, "order_content_type = 'image/webp'"),
        ] {
            let created = fixture
                .submit(&fixture.request_id(), form(number), PDF)
                .await
                .unwrap();
            let id: parta_ids::ApplicationId = created.application_id.parse().unwrap();
            let body = json!({"application_id": created.application_id});
            fixture
                .change_row("application", assignment, "application_id", id.uuid())
                .await;
            for rpc in [
                "ApplicationService/GetApplication",
                "ApplicationService/ApproveApplication",
            ] {
                is_unavailable(&fixture, &fixture.operator, rpc, body.clone()).await;
            }
        }
        fixture.close().await;
    }
);
