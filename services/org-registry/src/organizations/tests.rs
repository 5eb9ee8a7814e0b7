//! Data of an organization.
use parta_access::ServiceAccountPermission;
use parta_proto_membership::v1::Role;
use parta_testkit::on_both;
use serde_json::json;

use crate::tests::fixture::Fixture;

const UPDATE: &str = "OrganizationService/UpdateOrganization";

on_both!(
    /// Covers: R4 allowed, R4 refused
    data_is_editable_by_administrators_only,
    |database| async move {
        let fixture = Fixture::open(database).await;
        let (org, other) = (fixture.school(1).await, fixture.school(2).await);
        let administrator = fixture.member(org, Role::Administrator, &[]).await;
        let body = json!({
            "org_id": org.to_string(),
            "organization": {"display_name": "Лицей № 1", "region": "Тверь", "time_zone": "Asia/Omsk"},
            "update_mask": "displayName,timeZone",
            "request_id": fixture.request_id(),
        });
        let created = fixture.expect_success(&administrator, UPDATE, body.clone()).await;
        assert_eq!(created["organization"]["display_name"], json!("Лицей № 1"));
        assert_eq!(created["organization"]["time_zone"], json!("Asia/Omsk"));
        assert_eq!(created["organization"]["region"], json!("Москва"), "the mask does not name it");
        let rows = fixture.rows().await;
        assert_eq!(fixture.expect_success(&administrator, UPDATE, body.clone()).await, created);
        let mut reused = body.clone();
        reused["organization"]["display_name"] = json!("Лицей № 2");
        assert_eq!(fixture.expect_refusal(&administrator, UPDATE, reused).await.0, "REQUEST_ID_REUSED");

        let mut fresh = body;
        fresh["request_id"] = json!(fixture.request_id());
        for role in [Role::Pupil, Role::Parent, Role::Teacher, Role::Staff, Role::Head] {
            let credential = fixture.member(org, role, &[]).await;
            assert_eq!(fixture.expect_refusal(&credential, UPDATE, fresh.clone()).await.0, "PERMISSION_DENIED");
        }
        let other_administrator = fixture.member(other, Role::Administrator, &[]).await;
        assert_eq!(fixture.expect_refusal(&other_administrator, UPDATE, fresh.clone()).await.0, "NOT_FOUND");
        assert_eq!(fixture.expect_refusal(&None, UPDATE, fresh.clone()).await.0, "CREDENTIAL_MISSING");
        assert_eq!(fixture.expect_refusal(&fixture.operator, UPDATE, fresh.clone()).await.0, "CALLER_NOT_ACCEPTED");
        fresh["etag"] = json!("stale");
        assert_eq!(fixture.expect_refusal(&administrator, UPDATE, fresh).await.0, "ETAG_MISMATCH");
        assert_eq!(fixture.rows().await, rows);
        let events = fixture.events(org, 3).await;
        assert_eq!(events[2].0, "organization_updated");
        fixture.close().await;
    }
);

on_both!(invalid_updates_name_their_fields, |database| async move {
    let fixture = Fixture::open(database).await;
    let org = fixture.school(1).await;
    let administrator = fixture.member(org, Role::Administrator, &[]).await;
    let rows = fixture.rows().await;
    for (organization, mask, fields) in [
        (json!({}), "ogrn", vec!["update_mask"]),
        (json!({}), "", vec!["update_mask"]),
        (json!({}), "policies.version", vec!["update_mask"]),
        (
            json!({"display_name": "a\u{0}"}),
            "displayName",
            vec!["organization.display_name"],
        ),
        (
            json!({"time_zone": "Mars"}),
            "timeZone,region",
            vec!["organization.region", "organization.time_zone"],
        ),
    ] {
        let body = json!({"org_id": org.to_string(), "organization": organization, "update_mask": mask});
        let (reason, named) = fixture.expect_refusal(&administrator, UPDATE, body).await;
        assert_eq!(
            (reason.as_str(), named),
            ("FIELD_INVALID", fields.into_iter().map(str::to_owned).collect())
        );
    }
    let (_, named) = fixture
        .expect_refusal(&administrator, UPDATE, json!({"org_id": org.to_string()}))
        .await;
    assert_eq!(named, ["organization", "update_mask"]);
    let (_, named) = fixture
        .expect_refusal(&administrator, UPDATE, json!({"org_id": "school"}))
        .await;
    assert!(named.contains(&"org_id".to_owned()), "{named:?}");
    assert_eq!(fixture.rows().await, rows);
    fixture.close().await;
});

on_both!(
    organization_is_readable_by_members_systems_and_operator,
    |database| async move {
        let fixture = Fixture::open(database).await;
        let (org, other) = (fixture.school(1).await, fixture.school(2).await);
        let rpc = "OrganizationService/GetOrganization";
        let body = json!({"org_id": org.to_string()});
        let pupil = fixture.member(org, Role::Pupil, &[]).await;
        let service_account = fixture.service_account(org, ServiceAccountPermission::RosterRead);
        for credential in [&pupil, &service_account, &fixture.operator] {
            fixture.expect_success(credential, rpc, body.clone()).await;
        }
        let other_administrator = fixture.member(other, Role::Head, &[]).await;
        for (credential, reason) in [
            (&other_administrator, "NOT_FOUND"),
            (
                &fixture.service_account(other, ServiceAccountPermission::RosterRead),
                "NOT_FOUND",
            ),
            (
                &fixture.service_account(org, ServiceAccountPermission::OrgRegistryFeedRead),
                "CALLER_NOT_ACCEPTED",
            ),
            (&None, "CREDENTIAL_MISSING"),
        ] {
            assert_eq!(
                fixture.expect_refusal(credential, rpc, body.clone()).await.0,
                reason
            );
        }
        // The caller does not learn whether an organization exists.
        let unknown = json!({"org_id": fixture.env.id::<parta_ids::OrgId>().to_string()});
        assert_eq!(
            fixture
                .expect_refusal(&other_administrator, rpc, unknown.clone())
                .await
                .0,
            "NOT_FOUND"
        );
        assert_eq!(
            fixture.expect_refusal(&fixture.operator, rpc, unknown).await.0,
            "NOT_FOUND"
        );
        let list = fixture
            .expect_success(
                &fixture.operator,
                "OrganizationService/ListOrganizations",
                json!({"page_size": 1}),
            )
            .await;
        assert_eq!(list["organizations"][0]["id"], body["org_id"]);
        assert_ne!(list["next_page_token"], json!(""));
        let negative = json!({"page_size": -5});
        let (_, fields) = fixture
            .expect_refusal(
                &fixture.operator,
                "OrganizationService/ListOrganizations",
                negative,
            )
            .await;
        assert_eq!(fields, ["page_size"]);
        fixture.close().await;
    }
);
