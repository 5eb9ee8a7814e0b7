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
        administrator.change_roles(&head.member_id, &["ROLE_HEAD"]).await;
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

/// Returns whether the person may join the call.
async fn joins(person: &Person, call: &Value) -> bool {
    let wanted = json!({"call_id": call["id"], "start_time": call["start_time"]});
    let rpc = "CallService/IssueJoinToken";
    person.client.call(rpc, wanted).await.is_ok()
}

// Case 53: OPTIONAL, REQUIRED, OPTIONAL. The teacher without the badge is in the lessons of the class while
// the policy clears her. Her participation in a named chat with a pupil ends with the narrower policy, and is
// not revived.
on_both_topologies!(
    /// Covers: R84 allowed, R84 refused, F19 allowed, F19 refused
    narrowing_ends_named_chats_and_calls, |suite: Suite| async move {
        let school = suite.school("Школа № 1").await;
        let class = school.class("5А").await;
        let leader = school.class_teacher("Мария Кузнецова", &class).await;
        let pupil = school.pupil(&leader, "Пётр Сидоров", &class).await;
        let teacher = school.newcomer_teacher("Павел Новиков").await;
        school.assign(&teacher, &class, "ASSIGNMENT_KIND_SUBJECT_TEACHER").await;
        let head = school.newcomer_teacher("Вера Орлова").await;
        let administrator = &school.administrator.client;
        administrator.change_roles(&head.member_id, &["ROLE_HEAD"]).await;
        let lesson = json!({
            "unit_id": class, "title": "Алгебра", "kind": "CALL_KIND_LESSON", "format": "CALL_FORMAT_ONLINE",
            "duration": "2700s",
        });
        let lesson = leader.client.must("CallService/PlanCall", lesson).await["call"].clone();
        let widen = async || {
            let updated = verification(administrator, "OPTIONAL").await;
            let confirm = confirming(&school, &updated);
            head.client.must("PolicyService/ConfirmPolicyChange", confirm).await;
        };
        assert!(!joins(&teacher, &lesson).await);
        widen().await;
        assert!(joins(&teacher, &lesson).await);
        let members = json!([pupil.member_id, leader.member_id]);
        let named = json!({"title": "Кружок", "member_ids": members});
        let named = teacher.client.must("ChatService/CreateChat", named).await;
        let message = json!({"chat_id": named["chat"]["id"], "text": "Здравствуйте"});
        teacher.client.must("MessageService/SendMessage", message.clone()).await;

        verification(administrator, "REQUIRED").await;
        assert!(!joins(&teacher, &lesson).await);
        teacher.client.refused("MessageService/SendMessage", message.clone()).await;
        widen().await;
        assert!(joins(&teacher, &lesson).await && is_with_pupils(&teacher).await);
        let refused = teacher.client.refused("MessageService/SendMessage", message.clone()).await;
        assert_eq!(refused.reason, "NOT_FOUND");
        leader.client.must("MessageService/SendMessage", message).await;
    }
);
