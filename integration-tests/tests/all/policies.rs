//! A change of the policies and whom it lets meet whom, in all services (R84, F19).
#![expect(clippy::unwrap_used, reason = "a test may fail loudly")]
use parta_integration_tests::{Client, Person, School, Suite, on_both_topologies};
use serde_json::{Value, json};

/// Previews and makes the change of the policy on verification.
async fn verification(by: &Client, value: &str) -> Value {
    let mut wanted = json!({
        "policies": {"teacher_verification": format!("TEACHER_VERIFICATION_{value}")},
        "update_mask": "teacherVerification",
    });
    let preview = by.must("PolicyService/PreviewPolicies", wanted.clone()).await;
    wanted["preview_etag"] = preview["preview_etag"].clone();
    by.must("PolicyService/UpdatePolicies", wanted).await
}

/// Returns the request that confirms the pending change.
fn confirming(school: &School, updated: &Value) -> Value {
    let change = &updated["pending_change"];
    json!({
        "org_id": school.org_id, "policy_change_id": change["id"], "preview_etag": change["preview_etag"],
    })
}

/// Returns whether the person is in the chat of the pupils of the class.
async fn is_with_pupils(person: &Person) -> bool {
    let list = json!({"page_size": 200});
    let listed = person.client.must("ChatService/ListChats", list).await;
    let chats = listed["chats"].as_array().unwrap();
    chats
        .iter()
        .any(|chat| chat["kind"] == json!("CHAT_KIND_CLASS_PUPILS"))
}

on_both_topologies!(
    /// Covers: R84 allowed, R84 refused, F19 allowed, F19 refused
    widening_by_one_person_changes_nothing, |suite: Suite| async move {
        let school = suite.school("Школа № 1").await;
        let class = school.class("5А").await;
        let leader = school.class_teacher("Мария Кузнецова", &class).await;
        let pupil = school.pupil(&leader, "Пётр Сидоров", &class).await;
        let teacher = school.newcomer_teacher("Павел Новиков").await;
        school.assign(&teacher, &class, "ASSIGNMENT_KIND_SUBJECT_TEACHER").await;
        let administrator = &school.administrator.client;

        let personal = json!({"member_id": pupil.member_id});
        let meets = async || {
            let opened = teacher.client.call("ChatService/CreateDirectChat", personal.clone()).await;
            let with_pupils = is_with_pupils(&teacher).await;
            assert_eq!(opened.is_ok(), with_pupils);
            with_pupils
        };
        assert!(!meets().await);
        // The school has no second person yet, and the preview says so.
        let updated = verification(administrator, "OPTIONAL").await;
        let request = confirming(&school, &updated);
        let own = administrator.refused("PolicyService/ConfirmPolicyChange", request.clone()).await;
        assert_eq!(own.reason, "SECOND_PERSON_REQUIRED");
        assert!(!meets().await);

        let head = school.newcomer_teacher("Вера Орлова").await;
        let roles = json!({"member_id": head.member_id, "roles": ["ROLE_HEAD"]});
        administrator.must("MemberService/ChangeMemberRoles", roles).await;
        head.client.must("PolicyService/ConfirmPolicyChange", request).await;
        assert!(meets().await);
        let chat = teacher.client.must("ChatService/CreateDirectChat", personal.clone()).await;
        let message = json!({"chat_id": chat["chat"]["id"], "text": "Здравствуйте"});
        pupil.client.must("MessageService/SendMessage", message.clone()).await;

        // Narrowing needs one person and acts at once. The same person does not widen again.
        verification(administrator, "REQUIRED").await;
        assert!(!meets().await);
        pupil.client.refused("MessageService/SendMessage", message.clone()).await;
        verification(administrator, "OPTIONAL").await;
        assert!(!meets().await);
        pupil.client.refused("MessageService/SendMessage", message).await;
        let own = json!({"org_id": school.org_id});
        let history = head.client.must("PolicyService/ListPolicyChanges", own).await;
        let states: Vec<_> = history["changes"].as_array().unwrap().iter().map(|c| &c["state"]).collect();
        assert_eq!(
            states,
            [
                "POLICY_CHANGE_STATE_PENDING",
                "POLICY_CHANGE_STATE_APPLIED",
                "POLICY_CHANGE_STATE_APPLIED",
            ]
        );
    }
);
