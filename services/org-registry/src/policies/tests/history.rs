use parta_proto_membership::v1::Role;
use parta_testkit::on_both;
use serde_json::{Value, json};

use super::{CONFIRM, DROP, LIST, PENDING, dropping, optional, pending, update, wanted};
use crate::tests::fixture::{Credential, Fixture};

/// Reads all pages of one item each.
async fn pages(fixture: &Fixture, caller: &Credential, rpc: &str, mut body: Value) -> Vec<Value> {
    body["page_size"] = json!(1);
    let mut all = Vec::new();
    loop {
        let page = fixture.expect_success(caller, rpc, body.clone()).await;
        all.extend(page["changes"].as_array().unwrap().iter().cloned());
        if page["next_page_token"] == json!("") {
            return all;
        }
        body["page_token"] = page["next_page_token"].clone();
    }
}

on_both!(
    /// Covers: R84 allowed, R84 refused
    history_names_authors_values_and_second_persons,
    |database| async move {
        let fixture = Fixture::open(database).await;
        let (org, other) = (fixture.school(1).await, fixture.school(2).await);
        let (author, administrator) = fixture.admit(org, Role::Administrator, &[]).await;
        let (second, head) = fixture.admit(org, Role::Head, &[]).await;
        let values = json!({"unused_after": "7200s"});
        update(&fixture, &administrator, wanted(org, &values, "unusedAfter")).await;
        let request = pending(&fixture, &administrator, org).await;
        fixture.expect_success(&head, DROP, dropping(&request)).await;
        let request = pending(&fixture, &administrator, org).await;
        fixture.expect_success(&head, CONFIRM, request).await;
        let values = json!({"parent_inviters": "PARENT_INVITERS_CLASS_STAFF"});
        update(&fixture, &administrator, wanted(org, &values, "parentInviters")).await;

        let own = json!({"org_id": org.to_string()});
        let history = pages(&fixture, &head, LIST, own.clone()).await;
        let rows: Vec<_> = history
            .iter()
            .map(|change| {
                let value = &change["values"][0];
                let text = |field: &Value| field.as_str().unwrap().to_owned();
                (
                    text(&value["path"]),
                    text(&value["after"]),
                    text(&change["state"]),
                    text(&change["confirmer_id"]),
                    text(&change["policies_version"]),
                )
            })
            .collect();
        let row = |path: &str, after: &str, state: &str, by: &str, version: &str| {
            let state = format!("POLICY_CHANGE_STATE_{state}");
            (path.to_owned(), after.to_owned(), state, by.to_owned(), version.to_owned())
        };
        let second = second.to_string();
        let verification = "teacher_verification";
        assert_eq!(
            rows,
            [
                row("parent_inviters", "PARENT_INVITERS_CLASS_STAFF", "PENDING", "", "0"),
                row(verification, "TEACHER_VERIFICATION_OPTIONAL", "APPLIED", &second, "3"),
                row(verification, "TEACHER_VERIFICATION_OPTIONAL", "DROPPED", "", "0"),
                row("unused_after", "7200s", "APPLIED", "", "2"),
            ]
        );
        assert!(history.iter().all(|change| change["author_id"] == json!(author.to_string())));
        assert_eq!(history[2]["dropper_id"], json!(second));
        let waiting = json!({"org_id": org.to_string(), "pending_only": true});
        assert_eq!(pages(&fixture, &head, LIST, waiting).await, history[..1]);

        // The operator sees what waits in all organizations, with the etag to confirm it.
        let other_administrator = fixture.member(other, Role::Administrator, &[]).await;
        let updated = update(&fixture, &other_administrator, optional(other)).await;
        let listed = pages(&fixture, &fixture.operator, PENDING, json!({})).await;
        assert_eq!(listed, [history[0].clone(), updated["pending_change"].clone()]);

        for role in [Role::Teacher, Role::Staff, Role::Pupil, Role::Parent] {
            let credential = fixture.member(org, role, &[]).await;
            assert_eq!(fixture.expect_refusal(&credential, LIST, own.clone()).await.0, "PERMISSION_DENIED");
        }
        for (credential, rpc, reason) in [
            (&other_administrator, LIST, "NOT_FOUND"),
            (&fixture.operator, LIST, "CALLER_NOT_ACCEPTED"),
            (&administrator, PENDING, "CALLER_NOT_ACCEPTED"),
            (&None, PENDING, "CREDENTIAL_MISSING"),
        ] {
            let own = if rpc == LIST { own.clone() } else { json!({}) };
            assert_eq!(fixture.expect_refusal(credential, rpc, own).await.0, reason);
        }
        // A token of one list is refused by the other.
        let mut first = own.clone();
        first["page_size"] = json!(1);
        let token = fixture.expect_success(&head, LIST, first).await["next_page_token"].clone();
        let foreign = json!({"org_id": org.to_string(), "pending_only": true, "page_token": token});
        assert_eq!(fixture.expect_refusal(&head, LIST, foreign).await.1, ["page_token"]);
        fixture.close().await;
    }
);

on_both!(unknown_stored_value_is_unavailable, |database| async move {
    parta_testkit::logs().allow("a stored value is not known to this build");
    let fixture = Fixture::open(database).await;
    for (number, assignment) in [
        (1, "value_before = 'TEACHER_VERIFICATION_LATER'"),
        (2, "value_after = 'true'"),
        (3, "path = 'talk_matrix'"),
    ] {
        let org = fixture.school(number).await;
        let administrator = fixture.member(org, Role::Administrator, &[]).await;
        let request = pending(&fixture, &administrator, org).await;
        let id: parta_ids::PolicyChangeId = request["policy_change_id"].as_str().unwrap().parse().unwrap();
        let key = parta_ids::TypedId::uuid(id);
        fixture
            .change_row("policy_change_value", assignment, "policy_change_id", key)
            .await;
        let own = json!({"org_id": org.to_string()});
        for (rpc, body) in [(LIST, own), (DROP, dropping(&request))] {
            assert_eq!(
                fixture.expect_refusal(&administrator, rpc, body).await.0,
                "STORED_VALUE_UNKNOWN"
            );
        }
    }
    fixture.close().await;
});
