//! A change of roles gives nobody new reach, and takes nothing that rests on another ground.
use super::*;

async fn teaches_nobody(school: &School, person: &Person, pupil: &Person) {
    for kind in ["CHAT_KIND_CLASS_PUPILS", "CHAT_KIND_CLASS_TEACHERS"] {
        assert_eq!(chat_of(person, kind).await, None, "{kind}");
    }
    assert!(!may_write_to(person, pupil).await);
    let by = &school.administrator.client;
    let of_person = json!({"member_id": person.member_id});
    let listed = by.must("AssignmentService/ListAssignments", of_person).await;
    assert_eq!(listed["assignments"].as_array().map(Vec::len), Some(0));
}

// Cases 4 and 5: a teacher who becomes a parent sees no pupil and has no assignment. A pupil who becomes a
// teacher is enrolled nowhere.
// Covers: R23 allowed, R23 refused, F2 allowed, F2 refused
on_both_topologies!(
    changed_role_keeps_nothing_of_the_old_one,
    |suite: Suite| async move {
        let school = suite.school("Школа № 1").await;
        let class = school.class("5А").await;
        let leader = school.class_teacher("Анна Белова", &class).await;
        let pupil = school.pupil(&leader, "Иван Иванов", &class).await;
        let teacher = school.teacher("Олег Быков").await;
        school
            .assign(&teacher, &class, "ASSIGNMENT_KIND_SUBJECT_TEACHER")
            .await;
        assert!(sees(&teacher, &pupil).await && may_write_to(&teacher, &pupil).await);
        change_roles(&school, &teacher, &["ROLE_PARENT"]).await;
        assert!(!sees(&teacher, &pupil).await);
        teaches_nobody(&school, &teacher, &pupil).await;

        let former_pupil = school.pupil(&leader, "Мария Котова", &class).await;
        assert!(may_write_to(&former_pupil, &pupil).await);
        change_roles(&school, &former_pupil, &["ROLE_TEACHER"]).await;
        teaches_nobody(&school, &former_pupil, &pupil).await;
        assert!(!sees(&former_pupil, &pupil).await && !sees(&pupil, &former_pupil).await);
    }
);

// A role that was taken by mistake is given back within 7 days: the teacher has the class again in every
// service.
// Covers: F2 allowed
on_both_topologies!(
    undone_loss_of_a_role_gives_the_class_back,
    |suite: Suite| async move {
        let school = suite.school("Школа № 1").await;
        let class = school.class("5А").await;
        let leader = school.class_teacher("Анна Белова", &class).await;
        let pupil = school.pupil(&leader, "Иван Иванов", &class).await;
        let by = &school.administrator.client;
        let changed = by.change_roles(&leader.member_id, &["ROLE_PARENT"]).await;
        teaches_nobody(&school, &leader, &pupil).await;

        let undo = json!({"role_change_id": changed["role_change_id"]});
        let undone = by.must("RoleService/UndoRoleChange", undo).await;
        assert_eq!(undone["refusals"], json!([]), "{undone}");
        let pupils = chat_of(&leader, "CHAT_KIND_CLASS_PUPILS").await.unwrap();
        send(&leader.client, &pupils, "Здравствуйте").await.unwrap();
        assert!(sees(&leader, &pupil).await && may_write_to(&leader, &pupil).await);
    }
);

// Case 7: the head, a deputy and an administrator who are teachers of the class without the badge write to no
// pupil.
// Covers: R22 refused, F3 refused
on_both_topologies!(
    office_without_badge_writes_to_no_class,
    |suite: Suite| async move {
        let school = suite.school("Школа № 1").await;
        let class = school.class("5А").await;
        let leader = school.class_teacher("Анна Белова", &class).await;
        let pupil = school.pupil(&leader, "Иван Иванов", &class).await;
        for role in ["ROLE_HEAD", "ROLE_DEPUTY", "ROLE_ADMINISTRATOR"] {
            let person = school.newcomer_teacher("Олег Быков").await;
            change_roles(&school, &person, &["ROLE_TEACHER", role]).await;
            school
                .assign(&person, &class, "ASSIGNMENT_KIND_SUBJECT_TEACHER")
                .await;
            assert_eq!(chat_of(&person, "CHAT_KIND_CLASS_PUPILS").await, None, "{role}");
            assert!(!may_write_to(&person, &pupil).await, "{role}");
            let named = json!({"title": "Кружок", "member_ids": [pupil.member_id]});
            let refused = person.client.refused("ChatService/CreateChat", named).await;
            assert_eq!(refused.reason, "MEMBER_NOT_REACHABLE", "{role}");
        }
    }
);

// Case 56: a father who becomes a teacher without the badge keeps the chat with his own child and the
// chat of the parents. He reaches no other pupil.
// Covers: R23 allowed, R37 allowed, R37 refused, F4 allowed, F4 refused
on_both_topologies!(
    parent_who_becomes_a_teacher_keeps_the_child,
    |suite: Suite| async move {
        let school = suite.school("Школа № 1").await;
        let class = school.class("5А").await;
        let leader = school.class_teacher("Анна Белова", &class).await;
        let child = school.pupil(&leader, "Иван Иванов", &class).await;
        let classmate = school.pupil(&leader, "Пётр Сидоров", &class).await;
        let father = school.parent(&leader, "Игорь Иванов", &child, &class).await;
        let opened = json!({"member_id": child.member_id});
        let opened = father.client.must("ChatService/CreateDirectChat", opened).await;
        let personal = opened["chat"]["id"].as_str().unwrap();
        for roles in [
            &["ROLE_PARENT", "ROLE_TEACHER"][..],
            &["ROLE_PARENT", "ROLE_STAFF"],
            &["ROLE_PARENT", "ROLE_DEPUTY"],
        ] {
            change_roles(&school, &father, roles).await;
            send(&father.client, personal, "Здравствуй").await.unwrap();
            send(&child.client, personal, "Привет").await.unwrap();
            let of_parents = chat_of(&father, "CHAT_KIND_CLASS_PARENTS").await.unwrap();
            send(&father.client, &of_parents, "Когда собрание?")
                .await
                .unwrap();
            assert_eq!(chat_of(&father, "CHAT_KIND_CLASS_PUPILS").await, None);
            assert!(!may_write_to(&father, &classmate).await, "{roles:?}");
        }
    }
);
