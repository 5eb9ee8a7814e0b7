//! The past of a chat that newcomers read (F22).
use super::*;

/// Returns the texts that a person reads in a chat, oldest first.
async fn texts(person: &Person, chat: &str) -> Vec<String> {
    let list = json!({"chat_id": chat, "after_seq": "0", "page_size": 200});
    let listed = person.client.must("MessageService/ListEntries", list).await;
    let entries = listed["entries"].as_array().into_iter().flatten();
    let text = |entry: &Value| entry["message"]["text"].as_str().map(ToOwned::to_owned);
    entries.filter_map(text).collect()
}

// A pupil who registers after the enrollment reads from the enrollment. A parent who works in the school
// reads the chat of the parents as a parent. The policy changes what those read who are in the chat.
// Covers: F22 allowed, F22 refused, R9 allowed
on_both_topologies!(newcomers_read_from_their_ground, |suite: Suite| async move {
    let school = suite.school("Школа № 1").await;
    let class = school.class("5А").await;
    let leader = school.class_teacher("Анна Белова", &class).await;
    let of_leader =
        async |kind| eventually("the leader is in the chat", async || chat_of(&leader, kind).await).await;
    let chat = of_leader("CHAT_KIND_CLASS_PUPILS").await;
    let parents = of_leader("CHAT_KIND_CLASS_PARENTS").await;
    send(&leader.client, &chat, "до").await.unwrap();
    send(&leader.client, &parents, "до").await.unwrap();
    let expected = json!({"full_name": "Иван Иванов", "role": "ROLE_PUPIL", "unit_id": class});
    let made = leader.client.must("MemberService/CreateMember", expected).await;
    send(&leader.client, &chat, "учёба").await.unwrap();
    let record = made["member"]["id"].as_str().unwrap();
    let wanted = json!({"role": "ROLE_PUPIL", "unit_id": class, "claim_member_id": record});
    let link = school.link(&leader, wanted).await;
    let pupil = suite.newcomer("Иван Иванов").await.join(&link, &leader).await;
    eventually("the pupil is in the class", async || {
        chat_of(&pupil, "CHAT_KIND_CLASS_PUPILS").await
    })
    .await;
    assert_eq!(texts(&pupil, &chat).await, ["учёба"]);

    let parent = school.parent(&leader, "Мария Иванова", &pupil, &class).await;
    let by = &school.administrator.client;
    change_roles(&school, &parent, &["ROLE_PARENT", "ROLE_STAFF"]).await;
    eventually("the parent is in the chat of the staff", async || {
        chat_of(&parent, "CHAT_KIND_STAFF_CHANNEL").await
    })
    .await;
    assert!(texts(&parent, &parents).await.is_empty());

    for (policy, read) in [
        ("WHOLE", &["до", "учёба"][..]),
        ("FROM_JOINING", &[]),
        ("FROM_ENROLLMENT", &["учёба"]),
    ] {
        let mut change = json!({
            "policies": {"history_for_newcomers": format!("HISTORY_FOR_NEWCOMERS_{policy}")},
            "update_mask": "historyForNewcomers",
        });
        let preview = by.must("PolicyService/PreviewPolicies", change.clone()).await;
        assert_eq!(preview["values"][0]["needs_second_person"], json!(false));
        change["preview_etag"] = preview["preview_etag"].clone();
        by.must("PolicyService/UpdatePolicies", change).await;
        eventually("the policy decides what the pupil reads", async || {
            (texts(&pupil, &chat).await == read).then_some(())
        })
        .await;
    }
});
