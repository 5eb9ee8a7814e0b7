//! Decisions of the operator about applications (R2, R3).
use chrono::TimeDelta;
use parta_access::ServiceAccountPermission;
use parta_testkit::on_both;
use serde_json::{Value, json};

use crate::tests::fixture::{Fixture, JOBS, PDF, form};

fn ids(list: &Value) -> Vec<&str> {
    let all = list["applications"].as_array().unwrap();
    all.iter().map(|a| a["id"].as_str().unwrap()).collect()
}

on_both!(
    /// Covers: R2 allowed, R3 allowed
    approval_creates_the_organization_and_its_staff_room,
    |database| async move {
        let fixture = Fixture::open(database).await;
        let created = fixture.submit(&fixture.request_id(), form(1), PDF).await.unwrap();
        let get = json!({"application_id": created.application_id});
        let before = fixture
            .expect_success(&fixture.operator, "ApplicationService/GetApplication", get.clone())
            .await;
        fixture.time.advance(TimeDelta::hours(2));
        let approve = json!({
            "request_id": fixture.request_id(),
            "application_id": created.application_id,
            "etag": before["application"]["etag"],
        });
        let response = fixture
            .expect_success(&fixture.operator, "ApplicationService/ApproveApplication", approve.clone())
            .await;
        let org = response["organization"]["id"].as_str().unwrap();
        let rows = fixture.rows().await;
        let again = fixture
            .expect_success(&fixture.operator, "ApplicationService/ApproveApplication", approve)
            .await;
        assert_eq!(again, response);
        assert_eq!(fixture.rows().await, rows);

        let stored = fixture
            .expect_success(&fixture.operator, "ApplicationService/GetApplication", get)
            .await["application"]
            .take();
        assert_eq!(stored["org_id"], json!(org));
        let changes: Vec<_> = stored["changes"].as_array().unwrap().iter().collect();
        assert_eq!(changes.len(), 2);
        assert_eq!(changes[0]["state"], json!("APPLICATION_STATE_SUBMITTED"));
        assert_eq!(changes[1]["state"], json!("APPLICATION_STATE_APPROVED"));
        assert_eq!(changes[1]["actor"], json!("operator"));
        assert_ne!(changes[0]["change_time"], changes[1]["change_time"]);

        let events = fixture.events(org.parse().unwrap(), 2).await;
        assert_eq!(events[0].0, "organization_created");
        assert_eq!(events[0].1["display_name"], json!("Школа № 1"));
        assert_eq!(events[1].0, "unit_created");
        assert_eq!(events[1].1["kind"], json!("UNIT_KIND_STAFF_ROOM"));
        assert_eq!(events[1].1["label"], json!("Учительская"));
        fixture.close().await;
    }
);

on_both!(
    /// Covers: R2 refused
    decision_is_final,
    |database| async move {
        let fixture = Fixture::open(database).await;
        let (approve, refuse) = ("ApplicationService/ApproveApplication", "ApplicationService/RefuseApplication");
        for (number, first) in [(1, approve), (2, refuse)] {
            let created = fixture.submit(&fixture.request_id(), form(number), PDF).await.unwrap();
            let decide = json!({"application_id": created.application_id, "reason": "Приказ\nбез печати"});
            let of = |rpc: &str| {
                let mut body = decide.clone();
                if rpc == approve {
                    body.as_object_mut().unwrap().remove("reason");
                }
                body
            };
            let mut stale = of(first);
            stale["etag"] = json!("W/\"99\"");
            let outcome = fixture.expect_refusal(&fixture.operator, first, stale).await;
            assert_eq!(outcome.0, "ETAG_MISMATCH");
            fixture.expect_success(&fixture.operator, first, of(first)).await;
            let rows = fixture.rows().await;
            for second in [approve, refuse] {
                let outcome = fixture.expect_refusal(&fixture.operator, second, of(second)).await;
                assert_eq!(outcome.0, "APPLICATION_DECIDED");
            }
            assert_eq!(fixture.rows().await, rows);
        }
        fixture.close().await;
    }
);

on_both!(
    refusal_requires_a_reason_and_an_application,
    |database| async move {
        let fixture = Fixture::open(database).await;
        let created = fixture.submit(&fixture.request_id(), form(1), PDF).await.unwrap();
        let rows = fixture.rows().await;
        let rpc = "ApplicationService/RefuseApplication";
        for bad in ["", " ", "a\u{0}b", &"я".repeat(2_001)] {
            let body = json!({"application_id": created.application_id, "reason": bad});
            let (reason, fields) = fixture.expect_refusal(&fixture.operator, rpc, body).await;
            assert_eq!(
                (reason.as_str(), fields),
                ("FIELD_INVALID", vec!["reason".to_owned()])
            );
        }
        let (_, fields) = fixture
            .expect_refusal(&fixture.operator, rpc, json!({"application_id": "app_1"}))
            .await;
        assert_eq!(fields, ["application_id", "reason"]);
        let unknown = fixture.env.id::<parta_ids::ApplicationId>().to_string();
        for rpc in [
            "ApplicationService/GetApplication",
            "ApplicationService/ApproveApplication",
            "ApplicationService/RefuseApplication",
        ] {
            let mut body = json!({"application_id": unknown});
            if rpc.ends_with("RefuseApplication") {
                body["reason"] = json!("нет");
            }
            assert_eq!(
                fixture.expect_refusal(&fixture.operator, rpc, body).await.0,
                "NOT_FOUND"
            );
        }
        assert_eq!(fixture.rows().await, rows);
        fixture.close().await;
    }
);

on_both!(
    applications_are_accessible_to_the_operator_only,
    |database| async move {
        let fixture = Fixture::open(database).await;
        let org = fixture.school(1).await;
        let administrator = fixture
            .member(org, parta_proto_membership::v1::Role::Administrator, &[])
            .await;
        let created = fixture.submit(&fixture.request_id(), form(2), PDF).await.unwrap();
        let rows = fixture.rows().await;
        let service_account = fixture.service_account(org, ServiceAccountPermission::RosterRead);
        let another_key = Some("Bearer opk_00000000_AAAA_000000".to_owned());
        for (credential, reason) in [
            (&None, "CREDENTIAL_MISSING"),
            (&administrator, "CALLER_NOT_ACCEPTED"),
            (&service_account, "CALLER_NOT_ACCEPTED"),
            (&another_key, "CREDENTIAL_INVALID"),
        ] {
            for rpc in ["GetApplication", "ApproveApplication", "RefuseApplication"] {
                let body = json!({"application_id": created.application_id});
                let outcome = fixture
                    .expect_refusal(credential, &format!("ApplicationService/{rpc}"), body)
                    .await;
                assert_eq!(outcome.0, reason, "{rpc}");
            }
            let outcome = fixture
                .expect_refusal(credential, "ApplicationService/ListApplications", json!({}))
                .await;
            assert_eq!(outcome.0, reason);
        }
        assert_eq!(fixture.rows().await, rows);
        fixture.close().await;
    }
);

on_both!(
    page_tokens_are_bound_to_their_list_and_filter,
    |database| async move {
        let fixture = Fixture::open(database).await;
        let rpc = "ApplicationService/ListApplications";
        let mut all = Vec::new();
        for number in 1..=5 {
            let created = fixture
                .submit(&fixture.request_id(), form(number), PDF)
                .await
                .unwrap();
            all.push(created.application_id);
        }
        let (mut token, mut seen) = (String::new(), Vec::new());
        for expected in [2, 2, 1] {
            let page = fixture
                .expect_success(
                    &fixture.operator,
                    rpc,
                    json!({"page_size": 2, "page_token": token}),
                )
                .await;
            assert_eq!(ids(&page).len(), expected);
            seen.extend(ids(&page).into_iter().map(str::to_owned));
            token = page["next_page_token"].as_str().unwrap().to_owned();
        }
        assert_eq!((seen, token.as_str()), (all, ""));

        let page = fixture
            .expect_success(&fixture.operator, rpc, json!({"page_size": 2}))
            .await;
        let token = page["next_page_token"].as_str().unwrap();
        let submitted = json!({"state": "APPLICATION_STATE_SUBMITTED", "page_token": token});
        let mut broken = token.to_owned();
        broken.replace_range(..1, if token.starts_with('A') { "B" } else { "A" });
        for body in [
            submitted,
            json!({"page_token": "nonsense"}),
            json!({"page_token": broken}),
            json!({"page_token": &token[..token.len() - 1]}),
            json!({"page_token": "\u{0}"}),
        ] {
            let (reason, fields) = fixture.expect_refusal(&fixture.operator, rpc, body).await;
            assert_eq!(
                (reason.as_str(), fields),
                ("FIELD_INVALID", vec!["page_token".to_owned()])
            );
        }
        let other = fixture
            .expect_refusal(
                &fixture.operator,
                "OrganizationService/ListOrganizations",
                json!({"page_token": token}),
            )
            .await;
        assert_eq!(other.1, ["page_token"]);
        for (field, body) in [
            ("page_size", json!({"page_size": -1})),
            ("page_size", json!({"page_size": i32::MIN})),
            ("state", json!({"state": 99})),
            ("state", json!({"state": -1})),
        ] {
            assert_eq!(
                fixture.expect_refusal(&fixture.operator, rpc, body).await.1,
                [field]
            );
        }
        fixture
            .expect_success(&fixture.operator, rpc, json!({"page_size": i32::MAX}))
            .await;
        fixture.close().await;
    }
);

on_both!(
    /// Covers: R3 allowed
    appointment_is_retried_until_membership_is_available,
    |database| async move {
        let fixture = Fixture::open(database).await;
        parta_testkit::logs().allow("job");
        fixture.membership.fail_next(3);
        let org = fixture.school(1).await;
        for attempt in 1..=4 {
            fixture.run_due_jobs().await;
            assert_eq!(fixture.membership.calls().len(), attempt);
            fixture.time.advance(TimeDelta::hours(1));
        }
        assert_eq!(fixture.rows().await[JOBS], 0, "no job is left");
        let calls = fixture.membership.calls();
        assert_eq!(calls.len(), 4);
        assert!(calls.iter().all(|call| *call == calls[0]), "the same act each time");
        assert_eq!(calls[0].org_id, org.to_string());
        assert_eq!(calls[0].phone, "+79160000001");
        assert_eq!(calls[0].full_name, "Иван Орлов");
        fixture.close().await;
    }
);
