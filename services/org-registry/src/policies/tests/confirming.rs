use parta_access::ServiceAccountPermission;
use parta_ids::{MemberId, OrgId};
use parta_proto_membership::v1::{MemberChanged, MemberState, Role, membership_event::Payload};
use parta_testkit::on_both;
use serde_json::json;

use super::{CONFIRM, DROP, LIST, PREVIEW, UPDATE, dropping, optional, pending, previewed, update, wanted};
use crate::tests::fixture::Fixture;

/// Gives a member these roles, without the badge.
async fn give(fixture: &Fixture, org: OrgId, member: MemberId, roles: &[Role]) {
    let changed = MemberChanged {
        member_id: member.to_string(),
        state: MemberState::Active.into(),
        roles: roles.iter().map(|role| (*role).into()).collect(),
        teacher_verified: false,
        ..Default::default()
    };
    fixture.apply(org, Payload::MemberChanged(changed)).await;
}

on_both!(
    /// Covers: F19 allowed, F19 refused, F6 refused, R9 refused
    widening_needs_a_second_person,
    |database| async move {
        let fixture = Fixture::open(database).await;
        let (org, other) = (fixture.school(1).await, fixture.school(2).await);
        let administrator = fixture.member(org, Role::Administrator, &[]).await;
        let (member, deputy) = fixture.admit(org, Role::Deputy, &[]).await;
        let preview = fixture.expect_success(&administrator, PREVIEW, optional(org)).await;
        assert_eq!(preview["values"][0]["needs_second_person"], json!(true));
        assert_eq!(preview["operator_confirms"], json!(false));
        let request = pending(&fixture, &administrator, org).await;
        let rows = fixture.rows().await;
        for (credential, reason) in [
            (&administrator, "SECOND_PERSON_REQUIRED"),
            (&fixture.member(org, Role::Teacher, &[]).await, "PERMISSION_DENIED"),
            (&fixture.member(org, Role::Staff, &[]).await, "PERMISSION_DENIED"),
            (&fixture.member(org, Role::Parent, &[]).await, "PERMISSION_DENIED"),
            (&fixture.member(other, Role::Head, &[]).await, "NOT_FOUND"),
            (&None, "CREDENTIAL_MISSING"),
            (&fixture.service_account(org, ServiceAccountPermission::RosterRead), "CALLER_NOT_ACCEPTED"),
        ] {
            assert_eq!(fixture.expect_refusal(credential, CONFIRM, request.clone()).await.0, reason);
        }
        let mut unknown = request.clone();
        unknown["policy_change_id"] = json!(fixture.env.id::<parta_ids::PolicyChangeId>().to_string());
        assert_eq!(fixture.expect_refusal(&deputy, CONFIRM, unknown.clone()).await.0, "NOT_FOUND");
        assert_eq!(fixture.expect_refusal(&deputy, DROP, dropping(&unknown)).await.0, "NOT_FOUND");
        let read = json!({"org_id": org.to_string()});
        let read = fixture.expect_success(&deputy, "OrganizationService/GetOrganization", read).await;
        let required = json!("TEACHER_VERIFICATION_REQUIRED");
        assert_eq!(read["organization"]["policies"]["teacher_verification"], required);
        assert_eq!(fixture.rows().await, rows);

        let confirmed = fixture.expect_success(&deputy, CONFIRM, request.clone()).await;
        let change = &confirmed["change"];
        assert_eq!(change["state"], json!("POLICY_CHANGE_STATE_APPLIED"));
        assert_eq!(change["confirmer_id"], json!(member.to_string()));
        assert_ne!(change["confirm_time"], json!(null));
        assert_eq!(change["policies_version"], json!("2"));
        let policies = &confirmed["policies"];
        assert_eq!(policies["teacher_verification"], json!("TEACHER_VERIFICATION_OPTIONAL"));
        let events = fixture.events(org, 3).await;
        assert_eq!((events[2].0.as_str(), &events[2].1["policies"]), ("policies_changed", policies));
        let rows = fixture.rows().await;
        assert_eq!(fixture.expect_success(&deputy, CONFIRM, request.clone()).await, confirmed);
        let mut again = request.clone();
        again["request_id"] = json!(fixture.request_id());
        assert_eq!(fixture.expect_refusal(&deputy, CONFIRM, again).await.0, "POLICY_CHANGE_DECIDED");
        assert_eq!(fixture.expect_refusal(&deputy, DROP, dropping(&request)).await.0, "POLICY_CHANGE_DECIDED");
        assert_eq!(fixture.rows().await, rows);

        // One person takes back at once what two gave, and does not give it again (case 53).
        let required = wanted(org, &json!({"teacher_verification": required}), "teacherVerification");
        let narrowed = update(&fixture, &administrator, required).await;
        assert_eq!(narrowed["policies"]["version"], json!("3"));
        let widened = update(&fixture, &administrator, optional(org)).await;
        assert_eq!(widened["policies"], narrowed["policies"]);
        assert_eq!(widened["pending_change"]["state"], json!("POLICY_CHANGE_STATE_PENDING"));
        fixture.close().await;
    }
);

on_both!(
    /// Covers: F6 refused, F19 refused
    unverified_teacher_clears_nobody_by_a_policy,
    |database| async move {
        let fixture = Fixture::open(database).await;
        let org = fixture.school(1).await;
        let administrator = fixture.member(org, Role::Administrator, &[]).await;
        let (member, deputy) = fixture.admit(org, Role::Deputy, &[]).await;
        give(&fixture, org, member, &[Role::Deputy, Role::Teacher]).await;
        let request = pending(&fixture, &administrator, org).await;
        let refused = fixture.expect_refusal(&deputy, CONFIRM, request.clone()).await.0;
        assert_eq!(refused, "SECOND_PERSON_REQUIRED");
        // Nothing is given by dropping.
        fixture.expect_success(&deputy, DROP, dropping(&request)).await;
        // Toward another policy the deputy is a second person.
        let values = json!({"parent_inviters": "PARENT_INVITERS_CLASS_STAFF"});
        let updated = update(&fixture, &administrator, wanted(org, &values, "parentInviters")).await;
        let change = &updated["pending_change"];
        let confirm = json!({
            "org_id": org.to_string(), "policy_change_id": change["id"], "preview_etag": change["preview_etag"],
        });
        fixture.expect_success(&deputy, CONFIRM, confirm).await;
        fixture.close().await;
    }
);

on_both!(
    /// Covers: R84 refused
    decision_is_about_the_present_policies,
    |database| async move {
        let fixture = Fixture::open(database).await;
        let org = fixture.school(1).await;
        let (author, administrator) = fixture.admit(org, Role::Administrator, &[]).await;
        let (member, head) = fixture.admit(org, Role::Head, &[]).await;
        let mut request = pending(&fixture, &administrator, org).await;
        let values = json!({"unused_after": "7200s"});
        update(&fixture, &administrator, wanted(org, &values, "unusedAfter")).await;
        assert_eq!(fixture.expect_refusal(&head, CONFIRM, request.clone()).await.0, "PREVIEW_STALE");
        let waiting = json!({"org_id": org.to_string(), "pending_only": true});
        let listed = fixture.expect_success(&head, LIST, waiting).await;
        request["preview_etag"] = listed["changes"][0]["preview_etag"].clone();
        for field in ["preview_etag", "policy_change_id", "org_id"] {
            let mut bad = request.clone();
            bad[field] = json!("");
            assert_eq!(fixture.expect_refusal(&head, CONFIRM, bad).await.1, [field]);
        }
        // An order does not replace the second person, and does not add to one.
        let mut ordered = request.clone();
        ordered["order"] = json!({"number": "7", "date": "2026-01-12", "text": "О проверке"});
        assert_eq!(fixture.expect_refusal(&head, CONFIRM, ordered).await.1, ["order"]);
        // The author may no longer change policies: only one person would stand for the change.
        give(&fixture, org, author, &[Role::Staff]).await;
        assert_eq!(fixture.expect_refusal(&head, CONFIRM, request.clone()).await.0, "POLICY_CHANGE_LAPSED");
        fixture.change(org, author, MemberState::Left, Role::Administrator).await;
        assert_eq!(fixture.expect_refusal(&head, CONFIRM, request.clone()).await.0, "POLICY_CHANGE_LAPSED");
        let dropped = fixture.expect_success(&head, DROP, dropping(&request)).await;
        assert_eq!(dropped["change"]["state"], json!("POLICY_CHANGE_STATE_DROPPED"));
        assert_eq!(dropped["change"]["dropper_id"], json!(member.to_string()));
        assert_eq!(dropped["change"]["preview_etag"], json!(""));
        fixture.close().await;
    }
);

on_both!(
    /// Covers: F19 allowed
    author_withdraws_the_own_change,
    |database| async move {
        let fixture = Fixture::open(database).await;
        let org = fixture.school(1).await;
        let administrator = fixture.member(org, Role::Administrator, &[]).await;
        let head = fixture.member(org, Role::Head, &[]).await;
        let request = pending(&fixture, &administrator, org).await;
        let teacher = fixture.member(org, Role::Teacher, &[]).await;
        let refused = fixture.expect_refusal(&teacher, DROP, dropping(&request)).await.0;
        assert_eq!(refused, "PERMISSION_DENIED");
        let mut drop = dropping(&request);
        drop["request_id"] = json!(fixture.request_id());
        let dropped = fixture.expect_success(&administrator, DROP, drop.clone()).await;
        assert_eq!(fixture.expect_success(&administrator, DROP, drop).await, dropped);
        let refused = fixture.expect_refusal(&head, CONFIRM, request).await.0;
        assert_eq!(refused, "POLICY_CHANGE_DECIDED");
        let read = json!({"org_id": org.to_string()});
        let read = fixture.expect_success(&head, "OrganizationService/GetOrganization", read).await;
        assert_eq!(read["organization"]["policies"]["version"], json!("1"));
        // A dropped change holds up no other one.
        let again = previewed(&fixture, &administrator, optional(org)).await;
        fixture.expect_success(&administrator, UPDATE, again).await;
        fixture.close().await;
    }
);

on_both!(
    /// Covers: F19 allowed, F19 refused
    operator_confirms_if_there_is_no_second_person,
    |database| async move {
        let fixture = Fixture::open(database).await;
        let org = fixture.school(1).await;
        let administrator = fixture.member(org, Role::Administrator, &[]).await;
        // A deputy who would be cleared by the change is no second person, and neither is one who has left.
        let (gains, _) = fixture.admit(org, Role::Deputy, &[]).await;
        give(&fixture, org, gains, &[Role::Deputy, Role::Teacher]).await;
        let (left, _) = fixture.admit(org, Role::Head, &[]).await;
        let preview = fixture.expect_success(&administrator, PREVIEW, optional(org)).await;
        assert_eq!(preview["operator_confirms"], json!(false));
        let mut request = pending(&fixture, &administrator, org).await;
        assert_eq!(fixture.expect_refusal(&fixture.operator, CONFIRM, request.clone()).await.0, "ORDER_REQUIRED");
        let today = fixture.env.now().date_naive();
        let order = |date: String| json!({"number": "7", "date": date, "text": "О проверке"});
        request["order"] = order((today + chrono::TimeDelta::days(2)).to_string());
        let (_, fields) = fixture.expect_refusal(&fixture.operator, CONFIRM, request.clone()).await;
        assert_eq!(fields, ["order.date"]);
        request["order"] = json!({"number": "", "date": "12.01.2026", "text": ""});
        let (_, fields) = fixture.expect_refusal(&fixture.operator, CONFIRM, request.clone()).await;
        assert_eq!(fields, ["order.date", "order.number", "order.text"]);
        request["order"] = order(today.to_string());
        let refused = fixture.expect_refusal(&fixture.operator, CONFIRM, request.clone()).await.0;
        assert_eq!(refused, "SECOND_PERSON_AVAILABLE");

        fixture.change(org, left, MemberState::Left, Role::Head).await;
        fixture.expect_success(&administrator, DROP, dropping(&request)).await;
        let preview = fixture.expect_success(&administrator, PREVIEW, optional(org)).await;
        assert_eq!(preview["operator_confirms"], json!(true));
        request = pending(&fixture, &administrator, org).await;
        request["order"] = order(today.to_string());
        let confirmed = fixture.expect_success(&fixture.operator, CONFIRM, request.clone()).await;
        let change = &confirmed["change"];
        assert_eq!(change["state"], json!("POLICY_CHANGE_STATE_APPLIED"));
        assert_eq!((&change["confirmer_id"], &change["order"]), (&json!(""), &request["order"]));
        assert_eq!(fixture.expect_success(&fixture.operator, CONFIRM, request).await, confirmed);
        fixture.close().await;
    }
);
