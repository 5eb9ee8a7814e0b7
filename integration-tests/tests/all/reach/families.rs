//! Parents before, during and after the relation with a child.
use super::*;

async fn relation(school: &School, child: &Person, guardian: &Person) -> Value {
    let list = json!({"child_id": child.member_id, "page_size": 200});
    let by = &school.administrator.client;
    let listed = by.must("GuardianshipService/ListGuardianships", list).await;
    let mut all = listed["guardianships"].as_array().into_iter().flatten();
    let own = all.find(|relation| relation["guardian_id"] == json!(guardian.member_id));
    own.unwrap()["id"].clone()
}

// Case 17: a parent whose relation nobody has confirmed, and one whose last relation has ended, read no chat
// of the school, the school channel included, and see nobody.
// Covers: R27 allowed, R27 refused, R33 refused, F12 allowed, F12 refused
on_both_topologies!(
    parent_without_a_relation_reads_no_chat,
    |suite: Suite| async move {
        let school = suite.school("Школа № 1").await;
        let class = school.class("5А").await;
        let leader = school.class_teacher("Анна Белова", &class).await;
        let child = school.pupil(&leader, "Иван Иванов", &class).await;
        let link = json!({
            "role": "ROLE_PARENT", "unit_id": class, "child_id": child.member_id, "max_uses": 1,
        });
        let mother = school.comes(&leader, "Ольга Иванова", link).await;
        let reads = async |kind: &str| chat_of(&mother, kind).await;
        let kinds = ["CHAT_KIND_SCHOOL_CHANNEL", "CHAT_KIND_CLASS_PARENTS"];
        let outside = async || {
            for kind in kinds {
                assert_eq!(reads(kind).await, None, "{kind}");
            }
            for person in [&child, &leader, &school.administrator] {
                assert!(!sees(&mother, person).await);
                assert!(!may_write_to(&mother, person).await);
            }
        };
        outside().await;
        let relation = relation(&school, &child, &mother).await;
        let confirm = json!({"guardianship_id": relation});
        leader
            .client
            .must("GuardianshipService/ConfirmGuardianship", confirm)
            .await;
        for kind in kinds {
            assert!(reads(kind).await.is_some(), "{kind}");
        }
        let opened = json!({"member_id": child.member_id});
        let opened = mother.client.must("ChatService/CreateDirectChat", opened).await;
        let personal = opened["chat"]["id"].as_str().unwrap();
        send(&child.client, personal, "Привет").await.unwrap();
        let end = json!({"guardianship_id": relation, "cause": "ошибка"});
        leader
            .client
            .must("GuardianshipService/EndGuardianship", end)
            .await;
        outside().await;
        assert!(send(&child.client, personal, "Мама?").await.is_err());
        assert!(send(&mother.client, personal, "Здравствуй").await.is_err());
    }
);

// Case 55: a mother who opened the link of her child first requests to join as a pupil. Her own link
// still admits her, and staff refuse the request.
// Covers: R18 refused, R27 allowed, F9 allowed, F9 refused
on_both_topologies!(
    parent_who_opened_the_link_of_the_child_joins,
    |suite: Suite| async move {
        let school = suite.school("Школа № 1").await;
        let class = school.class("5А").await;
        let leader = school.class_teacher("Анна Белова", &class).await;
        let child = school.pupil(&leader, "Иван Иванов", &class).await;
        let of_class = json!({"role": "ROLE_PUPIL", "unit_id": class});
        let of_class = school.link(&leader, of_class).await;
        let own = json!({
            "role": "ROLE_PARENT", "unit_id": class, "child_id": child.member_id, "max_uses": 1,
        });
        let own = school.link(&leader, own).await;
        let account = suite.newcomer("Ольга Иванова").await;
        let requested = account.accept(&of_class).await;
        let request = requested["join_request_id"].as_str().unwrap();
        let mother = account.join(&own, &leader).await;
        leader.decide(request, false).await;
        let confirm = json!({"guardianship_id": relation(&school, &child, &mother).await});
        leader
            .client
            .must("GuardianshipService/ConfirmGuardianship", confirm)
            .await;
        assert!(may_write_to(&mother, &child).await);
        assert_eq!(chat_of(&mother, "CHAT_KIND_CLASS_PUPILS").await, None);
    }
);

// Case 24: a parent reads a post of the administration, who is in no list that parents see.
// Covers: F21 allowed, F21 refused
on_both_topologies!(author_of_a_post_is_named_to_families, |suite: Suite| async move {
    let school = suite.school("Школа № 1").await;
    let class = school.class("5А").await;
    let leader = school.class_teacher("Анна Белова", &class).await;
    let child = school.pupil(&leader, "Иван Иванов", &class).await;
    let mother = school.parent(&leader, "Ольга Иванова", &child, &class).await;
    let author = &school.administrator;
    let channel = chat_of(&mother, "CHAT_KIND_SCHOOL_CHANNEL").await.unwrap();
    let sent = send(&author.client, &channel, "Завтра выходной").await.unwrap();

    let id = json!({"member_id": author.member_id});
    let refused = mother.client.refused("MemberService/GetMember", id).await;
    assert_eq!(refused.reason, "NOT_FOUND");
    let wanted = json!({"chat_id": channel, "seqs": [sent["seq"]]});
    let named = mother
        .client
        .must("MessageService/BatchGetAuthors", wanted.clone())
        .await;
    let authors = named["authors"].as_array().unwrap();
    assert_eq!(authors.len(), 1, "{named:#}");
    assert_eq!(authors[0]["member_id"], json!(author.member_id));
    assert!(!authors[0]["full_name"].as_str().unwrap().is_empty());
    let roles = authors[0]["roles"].as_array().unwrap();
    assert!(roles.contains(&json!("ROLE_ADMINISTRATOR")), "{named:#}");
    // Neither contacts nor anything else of the profile.
    let fields: BTreeSet<_> = authors[0].as_object().unwrap().keys().cloned().collect();
    let known = ["full_name", "member_id", "roles", "teacher_verified"];
    assert!(
        fields.iter().all(|field| known.contains(&field.as_str())),
        "{named:#}"
    );
    let stranger = suite.school("Школа № 2").await.administrator;
    let body = json!({"org_id": school.org_id, "chat_id": channel, "seqs": [sent["seq"]]});
    let refused = stranger
        .client
        .refused("MessageService/BatchGetAuthors", body)
        .await;
    assert_eq!(refused.reason, "NOT_FOUND");
});
