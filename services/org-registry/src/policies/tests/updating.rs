use parta_proto_membership::v1::Role;
use parta_testkit::on_both;
use serde_json::json;

use super::{LIST, PREVIEW, UPDATE, optional, previewed, update, wanted};
use crate::tests::fixture::Fixture;

on_both!(
    /// Covers: R9 allowed, R9 refused, R84 allowed, R84 refused
    policies_change_as_previewed,
    |database| async move {
        let fixture = Fixture::open(database).await;
        let (org, other) = (fixture.school(1).await, fixture.school(2).await);
        let (author, administrator) = fixture.admit(org, Role::Administrator, &[]).await;
        let values = json!({"school_channel_open_to_families": false, "unused_after": "7200s"});
        let body = wanted(org, &values, "schoolChannelOpenToFamilies,unusedAfter");
        let rows = fixture.rows().await;
        let preview = fixture.expect_success(&administrator, PREVIEW, body.clone()).await;
        assert_eq!(fixture.rows().await, rows, "a preview changes nothing");
        let changed = json!([
            {
                "path": "school_channel_open_to_families", "before": "true", "after": "false",
                "effect": "POLICY_EFFECT_NARROWS", "needs_second_person": false,
            },
            {
                "path": "unused_after", "before": "1209600s", "after": "7200s",
                "effect": "POLICY_EFFECT_NEUTRAL", "needs_second_person": false,
            },
        ]);
        assert_eq!(preview["values"], changed);
        assert_eq!((&preview["version"], &preview["operator_confirms"]), (&json!("1"), &json!(false)));

        let mut request = body.clone();
        request["preview_etag"] = preview["preview_etag"].clone();
        request["request_id"] = json!(fixture.request_id());
        let updated = fixture.expect_success(&administrator, UPDATE, request.clone()).await;
        let policies = json!({
            "teacher_verification": "TEACHER_VERIFICATION_REQUIRED",
            "parent_inviters": "PARENT_INVITERS_CLASS_TEACHER",
            "school_channel_open_to_families": false,
            "unused_after": "7200s",
            "version": "2",
            "history_for_newcomers": "HISTORY_FOR_NEWCOMERS_FROM_ENROLLMENT",
        });
        assert_eq!(updated["policies"], policies);
        let applied = &updated["applied_change"];
        assert_eq!(applied["values"], changed);
        assert_eq!(applied["author_id"], json!(author.to_string()));
        assert_eq!(applied["state"], json!("POLICY_CHANGE_STATE_APPLIED"));
        assert_eq!(applied["policies_version"], json!("2"));
        let read = fixture
            .expect_success(&administrator, "OrganizationService/GetOrganization", json!({"org_id": org.to_string()}))
            .await;
        assert_eq!(read["organization"]["policies"], policies);
        let events = fixture.events(org, 3).await;
        assert_eq!(events[2].0, "policies_changed");
        assert_eq!(events[2].1["policies"], policies);

        let rows = fixture.rows().await;
        assert_eq!(fixture.expect_success(&administrator, UPDATE, request.clone()).await, updated);
        let mut reused = request.clone();
        reused["policies"]["unused_after"] = json!("7201s");
        assert_eq!(fixture.expect_refusal(&administrator, UPDATE, reused).await.0, "REQUEST_ID_REUSED");
        // Values that are in force change nothing: no version, no event, no row of the history.
        let same = update(&fixture, &administrator, body.clone()).await;
        assert_eq!(same["policies"], policies);
        assert_eq!((&same["applied_change"], &same["pending_change"]), (&json!(null), &json!(null)));
        assert_eq!(fixture.rows().await, rows);

        let of = |rpc| if rpc == PREVIEW { body.clone() } else { request.clone() };
        for role in [Role::Head, Role::Deputy, Role::Teacher, Role::Staff, Role::Pupil, Role::Parent] {
            let credential = fixture.member(org, role, &[]).await;
            for rpc in [PREVIEW, UPDATE] {
                let refused = fixture.expect_refusal(&credential, rpc, of(rpc)).await.0;
                assert_eq!(refused, "PERMISSION_DENIED", "{role:?} {rpc}");
            }
        }
        let stranger = fixture.member(other, Role::Administrator, &[]).await;
        for rpc in [PREVIEW, UPDATE] {
            for (credential, reason) in [
                (&stranger, "NOT_FOUND"),
                (&None, "CREDENTIAL_MISSING"),
                (&fixture.operator, "CALLER_NOT_ACCEPTED"),
            ] {
                assert_eq!(fixture.expect_refusal(credential, rpc, of(rpc)).await.0, reason, "{rpc}");
            }
        }
        assert_eq!(fixture.rows().await, rows);
        fixture.close().await;
    }
);

on_both!(invalid_changes_name_each_field, |database| async move {
    let fixture = Fixture::open(database).await;
    let org = fixture.school(1).await;
    let administrator = fixture.member(org, Role::Administrator, &[]).await;
    let rows = fixture.rows().await;
    let every = json!({
        "teacher_verification": "TEACHER_VERIFICATION_REQUIRED",
        "parent_inviters": "PARENT_INVITERS_CLASS_TEACHER",
        "unused_after": "7200s",
    });
    for (policies, mask, fields) in [
        (every.clone(), "", vec!["update_mask"]),
        (every.clone(), "*", vec!["update_mask.paths[0]"]),
        (every.clone(), "version", vec!["update_mask.paths[0]"]),
        (
            every.clone(),
            "unusedAfter,talkMatrix,parentInviters,unusedAfter",
            vec!["update_mask.paths[1]", "update_mask.paths[3]"],
        ),
        (
            json!({}),
            "teacherVerification,parentInviters,unusedAfter,policies.version",
            vec![
                "policies.parent_inviters",
                "policies.teacher_verification",
                "policies.unused_after",
                "update_mask.paths[3]",
            ],
        ),
        (
            json!({"teacher_verification": 9, "parent_inviters": -1}),
            "teacherVerification,parentInviters",
            vec!["policies.parent_inviters", "policies.teacher_verification"],
        ),
        (
            json!({"unused_after": "3599s"}),
            "unusedAfter",
            vec!["policies.unused_after"],
        ),
        (
            json!({"unused_after": "-7200s"}),
            "unusedAfter",
            vec!["policies.unused_after"],
        ),
        (
            json!({"unused_after": "31536001s"}),
            "unusedAfter",
            vec!["policies.unused_after"],
        ),
    ] {
        let mut body = wanted(org, &policies, mask);
        let (reason, named) = fixture
            .expect_refusal(&administrator, PREVIEW, body.clone())
            .await;
        assert_eq!(
            (reason.as_str(), &named),
            ("FIELD_INVALID", &fields.iter().map(|f| (*f).to_owned()).collect())
        );
        body["preview_etag"] = json!("0");
        assert_eq!(
            fixture.expect_refusal(&administrator, UPDATE, body).await.1,
            named
        );
    }
    let nothing = json!({"org_id": "school", "request_id": "7"});
    let (_, named) = fixture.expect_refusal(&administrator, UPDATE, nothing).await;
    assert_eq!(
        named,
        ["org_id", "policies", "preview_etag", "request_id", "update_mask"]
    );
    assert_eq!(fixture.rows().await, rows);
    fixture.close().await;
});

on_both!(
    /// Covers: R84 refused
    stale_preview_is_refused,
    |database| async move {
        let fixture = Fixture::open(database).await;
        let org = fixture.school(1).await;
        let first = fixture.member(org, Role::Administrator, &[]).await;
        let second = fixture.member(org, Role::Administrator, &[]).await;
        let body = |duration: &str| wanted(org, &json!({"unused_after": duration}), "unusedAfter");
        let stale = previewed(&fixture, &first, body("7200s")).await;
        // The concurrent change of another administrator, also of another policy.
        let closed = wanted(org, &json!({"school_channel_open_to_families": false}), "schoolChannelOpenToFamilies");
        update(&fixture, &second, closed).await;
        let rows = fixture.rows().await;
        assert_eq!(fixture.expect_refusal(&first, UPDATE, stale).await.0, "PREVIEW_STALE");
        // The preview of another change, of another organization, and no preview at all.
        let mut other = previewed(&fixture, &first, body("7200s")).await;
        other["policies"]["unused_after"] = json!("7300s");
        assert_eq!(fixture.expect_refusal(&first, UPDATE, other.clone()).await.0, "PREVIEW_STALE");
        other["preview_etag"] = json!("0000");
        assert_eq!(fixture.expect_refusal(&first, UPDATE, other).await.0, "PREVIEW_STALE");
        assert_eq!(fixture.rows().await, rows);
        let updated = update(&fixture, &first, body("7200s")).await;
        assert_eq!(updated["policies"]["version"], json!("3"));
        fixture.close().await;
    }
);

on_both!(
    /// Covers: F19 allowed, F19 refused
    one_call_narrows_at_once_and_widens_later,
    |database| async move {
        let fixture = Fixture::open(database).await;
        let org = fixture.school(1).await;
        let administrator = fixture.member(org, Role::Administrator, &[]).await;
        let values = json!({
            "teacher_verification": "TEACHER_VERIFICATION_OPTIONAL",
            "parent_inviters": "PARENT_INVITERS_CLASS_STAFF",
            "school_channel_open_to_families": false,
        });
        let all = "teacherVerification,parentInviters,schoolChannelOpenToFamilies";
        let updated = update(&fixture, &administrator, wanted(org, &values, all)).await;
        let policies = &updated["policies"];
        assert_eq!(policies["teacher_verification"], json!("TEACHER_VERIFICATION_REQUIRED"));
        assert_eq!(policies["parent_inviters"], json!("PARENT_INVITERS_CLASS_TEACHER"));
        assert_eq!(policies["school_channel_open_to_families"], json!(false));
        assert_eq!(policies["version"], json!("2"));
        let pending = &updated["pending_change"];
        assert_eq!(pending["state"], json!("POLICY_CHANGE_STATE_PENDING"));
        assert_eq!(pending["values"][0]["path"], json!("parent_inviters"));
        assert_eq!(pending["values"][1]["path"], json!("teacher_verification"));
        assert_eq!(pending["policies_version"], json!("0"));
        let events = fixture.events(org, 3).await;
        assert_eq!(events[2].1["policies"], *policies);

        // Another pending change of one of these policies would hide which of the two is confirmed.
        let again = previewed(&fixture, &administrator, optional(org)).await;
        let status = fixture.call(&administrator, UPDATE, again).await.unwrap_err();
        let refusal = parta_status::RpcError::from_status(&status).unwrap();
        assert_eq!(refusal.reason(), "POLICY_CHANGE_PENDING");
        assert_eq!(refusal.metadata("policy_change_id"), pending["id"].as_str());
        // The channel may be opened again by one person: nobody meets in a channel.
        let open = wanted(org, &json!({"school_channel_open_to_families": true}), "schoolChannelOpenToFamilies");
        let opened = update(&fixture, &administrator, open).await;
        assert_eq!(opened["applied_change"]["values"][0]["effect"], json!("POLICY_EFFECT_WIDENS"));
        let waiting = json!({"org_id": org.to_string(), "pending_only": true});
        let listed = fixture.expect_success(&administrator, LIST, waiting).await;
        assert_eq!(listed["changes"].as_array().unwrap().len(), 1);
        fixture.close().await;
    }
);
