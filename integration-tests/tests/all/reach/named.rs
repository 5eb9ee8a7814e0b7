//! Named chats: an adult is in one with pupils by a ground toward every pupil in it, as long as it lasts.
use super::*;

async fn named_chat(by: &Person, people: &[&Person]) -> Result<String, tonic::Status> {
    let ids: Vec<_> = people.iter().map(|person| &person.member_id).collect();
    let wanted = json!({"title": "Поход", "member_ids": ids});
    let made = by.client.call("ChatService/CreateChat", wanted).await?;
    Ok(made["chat"]["id"].as_str().unwrap().to_owned())
}

async fn add(by: &Person, chat: &str, person: &Person) -> Result<Value, tonic::Status> {
    let wanted = json!({"chat_id": chat, "member_ids": [person.member_id]});
    by.client.call("ChatService/AddParticipants", wanted).await
}

async fn remove(by: &Person, chat: &str, person: &Person) {
    let wanted = json!({"chat_id": chat, "member_ids": [person.member_id]});
    by.client.must("ChatService/RemoveParticipants", wanted).await;
}

fn refusal<T: std::fmt::Debug>(result: Result<T, tonic::Status>) -> String {
    reason(&result.unwrap_err())
}

// Case 51: nobody makes a chat of a teacher with a pupil of another class, also not the administration. When
// the last teacher with a ground has left, pupils do not write until the administration names another one.
// Covers: F3 refused, F14 refused, F15 refused
on_both_topologies!(
    teacher_of_another_class_gets_no_pupil_by_a_named_chat,
    |suite: Suite| async move {
        let school = suite.school("Школа № 1").await;
        let class = school.class("5А").await;
        let leader = school.class_teacher("Анна Белова", &class).await;
        let pupil = school.pupil(&leader, "Иван Иванов", &class).await;
        let other = school.teacher("Олег Быков").await;
        school.clear_administrator().await;
        for maker in [&school.administrator, &leader] {
            let made = named_chat(maker, &[&pupil, &other]).await;
            assert_eq!(refusal(made), "MEMBER_NOT_REACHABLE");
        }
        let chat = named_chat(&leader, &[&pupil]).await.unwrap();
        assert_eq!(refusal(add(&leader, &chat, &other).await), "MEMBER_NOT_REACHABLE");
        let of_staff = named_chat(&leader, &[&other]).await.unwrap();
        assert_eq!(
            refusal(add(&leader, &of_staff, &pupil).await),
            "MEMBER_NOT_REACHABLE"
        );
        remove(&leader, &chat, &leader).await;
        assert_eq!(refusal(send(&pupil.client, &chat, "?").await), "CHAT_READ_ONLY");
        let administrator = &school.administrator;
        let own = add(administrator, &chat, administrator).await;
        assert_eq!(refusal(own), "SECOND_PERSON_REQUIRED");
        assert_eq!(
            refusal(add(administrator, &chat, &other).await),
            "MEMBER_NOT_REACHABLE"
        );
        add(administrator, &chat, &leader).await.unwrap();
        send(&pupil.client, &chat, "Здравствуйте").await.unwrap();
    }
);

// Case 15: a class teacher who is replaced is out, and the administration names the successor.
// Covers: F14 allowed, F14 refused
on_both_topologies!(
    replaced_teacher_is_out_of_the_named_chats,
    |suite: Suite| async move {
        let school = suite.school("Школа № 1").await;
        let class = school.class("5А").await;
        let leader = school.class_teacher("Анна Белова", &class).await;
        let pupil = school.pupil(&leader, "Иван Иванов", &class).await;
        let successor = school.teacher("Олег Быков").await;
        let chat = named_chat(&leader, &[&pupil]).await.unwrap();
        send(&leader.client, &chat, "Здравствуйте").await.unwrap();
        let by = &school.administrator.client;
        let of_leader = json!({"member_id": leader.member_id});
        let listed = by.must("AssignmentService/ListAssignments", of_leader).await;
        let end = json!({"assignment_id": listed["assignments"][0]["id"]});
        by.must("AssignmentService/EndAssignment", end).await;
        school
            .assign(&successor, &class, "ASSIGNMENT_KIND_CLASS_TEACHER")
            .await;
        assert_eq!(refusal(send(&leader.client, &chat, "?").await), "NOT_FOUND");
        assert_eq!(refusal(add(&leader, &chat, &successor).await), "NOT_FOUND");
        assert_eq!(refusal(send(&pupil.client, &chat, "?").await), "CHAT_READ_ONLY");
        add(&school.administrator, &chat, &successor).await.unwrap();
        send(&successor.client, &chat, "Здравствуйте").await.unwrap();
        send(&pupil.client, &chat, "Здравствуйте").await.unwrap();
    }
);
