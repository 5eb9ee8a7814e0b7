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

async fn remove(by: &Person, chat: &str, person: &Person) -> Result<Value, tonic::Status> {
    let wanted = json!({"chat_id": chat, "member_ids": [person.member_id]});
    by.client.call("ChatService/RemoveParticipants", wanted).await
}

async fn transfer(by: &Person, chat: &str, to: &Person) -> Result<Value, tonic::Status> {
    let wanted = json!({"chat_id": chat, "responsible_id": to.member_id});
    by.client.call("ChatService/TransferResponsibility", wanted).await
}

/// Ends the only task of a teacher.
async fn end_task(school: &School, teacher: &Person) {
    let by = &school.administrator.client;
    let of_teacher = json!({"member_id": teacher.member_id});
    let listed = by.must("AssignmentService/ListAssignments", of_teacher).await;
    let end = json!({"assignment_id": listed["assignments"][0]["id"]});
    by.must("AssignmentService/EndAssignment", end).await;
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
        let leaves = remove(&leader, &chat, &leader).await;
        assert_eq!(refusal(leaves), "RESPONSIBLE_REQUIRED");
        end_task(&school, &leader).await;
        assert_eq!(refusal(send(&pupil.client, &chat, "?").await), "CHAT_READ_ONLY");
        let administrator = &school.administrator;
        let own = add(administrator, &chat, administrator).await;
        assert_eq!(refusal(own), "SECOND_PERSON_REQUIRED");
        assert_eq!(
            refusal(transfer(administrator, &chat, administrator).await),
            "SECOND_PERSON_REQUIRED"
        );
        assert_eq!(
            refusal(transfer(administrator, &chat, &other).await),
            "MEMBER_NOT_REACHABLE"
        );
        school
            .assign(&leader, &class, "ASSIGNMENT_KIND_SUBJECT_TEACHER")
            .await;
        transfer(administrator, &chat, &leader).await.unwrap();
        send(&pupil.client, &chat, "Здравствуйте").await.unwrap();
    }
);

// Case 15: a class teacher who is replaced is out. The successor is responsible, and reads from the joining.
// Covers: F14 allowed, F14 refused, F22 refused, R70 allowed
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
        end_task(&school, &leader).await;
        assert_eq!(refusal(send(&pupil.client, &chat, "?").await), "CHAT_READ_ONLY");
        school
            .assign(&successor, &class, "ASSIGNMENT_KIND_CLASS_TEACHER")
            .await;
        assert_eq!(refusal(send(&leader.client, &chat, "?").await), "NOT_FOUND");
        assert_eq!(refusal(add(&leader, &chat, &successor).await), "NOT_FOUND");
        send(&successor.client, &chat, "Добрый день").await.unwrap();
        send(&pupil.client, &chat, "Здравствуйте").await.unwrap();
        let all = json!({"chat_id": chat, "after_seq": 0});
        let read = successor.client.must("MessageService/ListEntries", all).await;
        let entries = read["entries"].as_array().unwrap().iter();
        let texts: Vec<_> = entries
            .filter_map(|entry| entry["message"]["text"].as_str())
            .collect();
        assert_eq!(texts, ["Добрый день", "Здравствуйте"]);
    }
);
