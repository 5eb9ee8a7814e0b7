//! Policies: their preview, their changes and their history.
mod confirming;
mod history;
mod updating;

use std::time::Duration;

use parta_ids::OrgId;
use parta_roster::{HistoryForNewcomers, Policies};
use serde_json::{Value, json};

use super::model::{Effect, PolicyPath, PolicyValue, ValueChange, differences, widens, with_values};
use crate::tests::fixture::{Credential, Fixture};

const PREVIEW: &str = "PolicyService/PreviewPolicies";
const UPDATE: &str = "PolicyService/UpdatePolicies";
const CONFIRM: &str = "PolicyService/ConfirmPolicyChange";
const DROP: &str = "PolicyService/DropPolicyChange";
const LIST: &str = "PolicyService/ListPolicyChanges";
const PENDING: &str = "PolicyService/ListPendingPolicyChanges";

fn wanted(org: OrgId, policies: &Value, mask: &str) -> Value {
    json!({"org_id": org.to_string(), "policies": policies, "update_mask": mask})
}

/// The document with the value that lets more adults reach pupils.
fn optional(org: OrgId) -> Value {
    wanted(
        org,
        &json!({"teacher_verification": "TEACHER_VERIFICATION_OPTIONAL"}),
        "teacherVerification",
    )
}

/// Returns the request of UpdatePolicies with the etag of a preview of the same change.
async fn previewed(fixture: &Fixture, caller: &Credential, mut body: Value) -> Value {
    let preview = fixture.expect_success(caller, PREVIEW, body.clone()).await;
    body["preview_etag"] = preview["preview_etag"].clone();
    body["request_id"] = json!(fixture.request_id());
    body
}

/// Previews and makes a change.
async fn update(fixture: &Fixture, caller: &Credential, body: Value) -> Value {
    let body = previewed(fixture, caller, body).await;
    fixture.expect_success(caller, UPDATE, body).await
}

/// Requests the change that a second person confirms, and returns the request that confirms it.
async fn pending(fixture: &Fixture, author: &Credential, org: OrgId) -> Value {
    let updated = update(fixture, author, optional(org)).await;
    let change = &updated["pending_change"];
    json!({
        "request_id": fixture.request_id(), "org_id": org.to_string(),
        "policy_change_id": change["id"], "preview_etag": change["preview_etag"],
    })
}

/// Returns the request that drops the change of a request that confirms it.
fn dropping(confirm: &Value) -> Value {
    json!({"org_id": confirm["org_id"], "policy_change_id": confirm["policy_change_id"]})
}

/// Every value of each policy; of a duration, some.
fn every_value(path: PolicyPath) -> Vec<PolicyValue> {
    let both = [false, true];
    match path {
        PolicyPath::HistoryForNewcomers => HistoryForNewcomers::ALL
            .map(PolicyValue::HistoryForNewcomers)
            .to_vec(),
        PolicyPath::ParentInviters => both
            .map(|class_staff| PolicyValue::ParentInviters { class_staff })
            .to_vec(),
        PolicyPath::SchoolChannelOpenToFamilies => {
            both.map(PolicyValue::SchoolChannelOpenToFamilies).to_vec()
        }
        PolicyPath::TeacherVerification => both
            .map(|required| PolicyValue::TeacherVerification { required })
            .to_vec(),
        PolicyPath::UnusedAfter => [1, 24, 8_760]
            .map(|hours| PolicyValue::UnusedAfter(Duration::from_hours(hours)))
            .to_vec(),
    }
}

/// Every combination of the values of all policies.
pub(super) fn every_document() -> Vec<Policies> {
    let mut documents = vec![Policies::default()];
    for path in PolicyPath::ALL {
        let values = every_value(path);
        let extended = documents.iter().flat_map(|document| {
            let of_value = |value: &PolicyValue| with_values(document, [*value]);
            values.iter().map(of_value).collect::<Vec<_>>()
        });
        documents = extended.collect();
    }
    documents
}

/// Covers: F19 allowed, F19 refused
#[test]
fn widening_is_an_order_of_the_values_of_a_policy() {
    for path in PolicyPath::ALL {
        let values = every_value(path);
        for before in &values {
            assert_eq!(path.decode(&before.text()), Some(*before));
            assert!(!widens(*before, *before));
            for after in &values {
                let change = ValueChange {
                    before: *before,
                    after: *after,
                };
                let back = ValueChange {
                    before: *after,
                    after: *before,
                };
                // A change never widens in both directions, and the change back has the opposite effect.
                let opposite = match change.effect() {
                    Effect::Widens => Effect::Narrows,
                    Effect::Narrows => Effect::Widens,
                    Effect::Neutral => Effect::Neutral,
                };
                assert_eq!(back.effect(), opposite, "{change:?}");
                // No detour widens what the direct way does not.
                for between in &values {
                    if widens(*before, *between) && widens(*between, *after) {
                        assert!(widens(*before, *after), "{before:?} {between:?} {after:?}");
                    }
                }
                // Only what widens needs a second person, in one direction at most.
                assert!(!change.needs_second_person() || change.effect() == Effect::Widens);
                assert!(!(change.needs_second_person() && back.needs_second_person()));
            }
        }
    }
}

#[test]
fn differences_lead_from_one_document_to_the_other() {
    for before in every_document() {
        for after in every_document() {
            let values = differences(&before, &after);
            let changed = with_values(&before, values.iter().map(|value| value.after));
            assert_eq!(changed, after);
            assert_eq!(values.is_empty(), before == after);
        }
    }
}
