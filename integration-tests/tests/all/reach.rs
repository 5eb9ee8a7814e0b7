//! Reach when a right begins, ends or is taken away, through the public API of all services.
#![expect(clippy::unwrap_used, reason = "a test may fail loudly")]
mod calls;
mod codes;
mod families;
mod history;
mod links;
mod named;
mod roles;

use std::collections::BTreeSet;

use chrono::TimeDelta;
use futures::StreamExt as _;
use parta_integration_tests::{Client, Person, School, Suite, on_both_topologies, reason};
use parta_testkit::eventually;
use serde_json::{Value, json};

/// The chat of a kind that the person sees, if there is one.
async fn chat_of(person: &Person, kind: &str) -> Option<String> {
    let listed = person
        .client
        .must("ChatService/ListChats", json!({"page_size": 200}));
    let listed = listed.await;
    let chats = listed["chats"].as_array().unwrap();
    let found = chats.iter().find(|chat| chat["kind"] == json!(kind))?;
    Some(found["id"].as_str().unwrap().to_owned())
}

/// Makes an assignment that ends soon, and returns its id.
async fn substitute(school: &School, teacher: &Person, class: &str, time: TimeDelta) -> String {
    let wanted = json!({
        "member_id": teacher.member_id, "unit_id": class, "kind": "ASSIGNMENT_KIND_CLASS_TEACHER",
        "expire_time": (parta_ids::Env::system().now() + time).to_rfc3339(),
    });
    let by = &school.administrator.client;
    let made = by.must("AssignmentService/CreateAssignment", wanted).await;
    made["assignment"]["id"].as_str().unwrap().to_owned()
}

async fn send(client: &Client, chat: &str, text: &str) -> Result<Value, tonic::Status> {
    let message = json!({"chat_id": chat, "text": text});
    client.call("MessageService/SendMessage", message).await
}

async fn sees(person: &Person, other: &Person) -> bool {
    let listed = person
        .client
        .must("MemberService/ListMembers", json!({"page_size": 200}));
    let listed = listed.await;
    let members = listed["members"].as_array().unwrap();
    members
        .iter()
        .any(|member| member["id"] == json!(other.member_id))
}

async fn change_roles(school: &School, person: &Person, roles: &[&str]) {
    let by = &school.administrator.client;
    by.change_roles(&person.member_id, roles).await;
}

async fn may_write_to(person: &Person, other: &Person) -> bool {
    let wanted = json!({"member_id": other.member_id});
    person
        .client
        .call("ChatService/CreateDirectChat", wanted)
        .await
        .is_ok()
}

// Case 1: a substitute teaches for a few seconds. While the assignment lasts, she reads and writes in the
// pupils' and the parents' chat, and neither opens personal chats nor invites. Then every service takes it
// away, and her open stream delivers nothing more of the class.
// Covers: R25 allowed, R25 refused, R26 allowed, R26 refused, F1 allowed, F1 refused, F3 allowed, F3 refused
on_both_topologies!(
    right_that_ends_by_time_ends_everywhere,
    |suite: Suite| async move {
        let school = suite.school("Школа № 1").await;
        let class = school.class("5А").await;
        let leader = school.class_teacher("Анна Белова", &class).await;
        let pupil = school.pupil(&leader, "Иван Иванов", &class).await;
        let teacher = school.teacher("Олег Быков").await;
        let assignment = substitute(&school, &teacher, &class, TimeDelta::seconds(15)).await;
        let (pupils, parents) = eventually("the substitute is in the chats of the class", async || {
            let pupils = chat_of(&teacher, "CHAT_KIND_CLASS_PUPILS").await?;
            Some((pupils, chat_of(&teacher, "CHAT_KIND_CLASS_PARENTS").await?))
        })
        .await;
        for chat in [&pupils, &parents] {
            send(&teacher.client, chat, "Здравствуйте").await.unwrap();
        }
        assert!(sees(&teacher, &pupil).await);
        assert!(!may_write_to(&teacher, &pupil).await);
        let link = json!({"role": "ROLE_PUPIL", "unit_id": class});
        let refused = teacher
            .client
            .refused("InvitationService/CreateInvitation", link)
            .await;
        assert_eq!(refused.reason, "PERMISSION_DENIED");
        let mut stream = teacher
            .client
            .open("LiveService/SubscribeChats", json!({}))
            .await
            .unwrap();
        stream.next().await.unwrap().unwrap();

        eventually("the chats of the class are gone", async || {
            let (pupils, parents) = tokio::join!(
                chat_of(&teacher, "CHAT_KIND_CLASS_PUPILS"),
                chat_of(&teacher, "CHAT_KIND_CLASS_PARENTS")
            );
            (pupils.is_none() && parents.is_none()).then_some(())
        })
        .await;
        for chat in [&pupils, &parents] {
            assert!(send(&teacher.client, chat, "ещё").await.is_err());
            let read = json!({"chat_id": chat});
            assert!(
                teacher
                    .client
                    .call("MessageService/ListEntries", read)
                    .await
                    .is_err()
            );
        }
        assert!(!sees(&teacher, &pupil).await);
        let by = &school.administrator.client;
        let listed = by
            .must("AssignmentService/ListAssignments", json!({"unit_id": class}))
            .await;
        assert!(!listed.to_string().contains(&assignment), "{listed:#}");

        // The stream stays open for the other chats and says nothing of the class.
        send(&pupil.client, &pupils, "секрет класса").await.unwrap();
        let staff = chat_of(&school.administrator, "CHAT_KIND_STAFF_CHANNEL")
            .await
            .unwrap();
        send(by, &staff, "педсовет в пять").await.unwrap();
        loop {
            let printed = format!("{:?}", stream.next().await.unwrap().unwrap());
            assert!(!printed.contains("секрет класса"));
            if printed.contains("педсовет в пять") {
                break;
            }
        }
    }
);

// Cases 3 to 7: the badge is withdrawn, the teacher becomes staff, and the role is given back. None of it
// lets her reach anybody, the class comes back with a new assignment only, and the only other staff
// member does not see pupils either.
// Covers: R22 refused, R23 allowed, R23 refused, R28 refused
// Covers: F2 allowed, F2 refused, F3 refused
on_both_topologies!(demoted_teacher_reaches_nobody_new, |suite: Suite| async move {
    let school = suite.school("Школа № 1").await;
    let class = school.class("5А").await;
    let teacher = school.class_teacher("Анна Белова", &class).await;
    let pupil = school.pupil(&teacher, "Иван Иванов", &class).await;
    let other = school.pupil(&school.administrator, "Пётр Сидоров", &class).await;
    assert!(may_write_to(&teacher, &pupil).await);
    let withdrawn = json!({"member_id": teacher.member_id, "cause": "приказ № 8"});
    let by = &school.administrator.client;
    by.must("MemberService/WithdrawTeacherVerification", withdrawn)
        .await;
    for roles in [
        &["ROLE_TEACHER"][..],
        &["ROLE_STAFF"],
        &["ROLE_DEPUTY"],
        &["ROLE_TEACHER"],
    ] {
        change_roles(&school, &teacher, roles).await;
        eventually("the class is gone", async || {
            let chat = chat_of(&teacher, "CHAT_KIND_CLASS_PUPILS").await;
            chat.is_none().then_some(())
        })
        .await;
        for person in [&pupil, &other] {
            assert!(!may_write_to(&teacher, person).await, "{roles:?}");
            let named = json!({"title": "Кружок", "member_ids": [person.member_id]});
            let refused = teacher.client.refused("ChatService/CreateChat", named).await;
            assert_eq!(refused.reason, "MEMBER_NOT_REACHABLE", "{roles:?}");
            // The administration reads the roster, and nobody else who is not cleared.
            let reads_roster = roles == ["ROLE_DEPUTY"];
            assert_eq!(sees(&teacher, person).await, reads_roster, "{roles:?}");
        }
    }
    let verify = json!({"member_id": teacher.member_id, "evidence": "приказ № 9"});
    by.must("MemberService/VerifyTeacher", verify).await;
    assert!(!may_write_to(&teacher, &pupil).await);
    school
        .assign(&teacher, &class, "ASSIGNMENT_KIND_CLASS_TEACHER")
        .await;
    eventually("a new assignment gives the class back", async || {
        chat_of(&teacher, "CHAT_KIND_CLASS_PUPILS").await
    })
    .await;
    assert!(may_write_to(&teacher, &pupil).await);
});

// Case 13, in part: an archived class is a ground for no personal chat, and those that rested on it fall
// silent.
// Covers: R37 refused, F16 refused
on_both_topologies!(
    archived_class_is_no_ground_for_personal_chats,
    |suite: Suite| async move {
        let school = suite.school("Школа № 1").await;
        let class = school.class("5А").await;
        let teacher = school.class_teacher("Анна Белова", &class).await;
        let pupil = school.pupil(&teacher, "Иван Иванов", &class).await;
        let other = school.pupil(&teacher, "Пётр Сидоров", &class).await;
        let opened = json!({"member_id": pupil.member_id});
        let opened = teacher.client.must("ChatService/CreateDirectChat", opened).await;
        let chat = opened["chat"]["id"].as_str().unwrap();
        send(&teacher.client, chat, "Здравствуй").await.unwrap();
        let by = &school.administrator.client;
        by.must("UnitService/ArchiveUnit", json!({"unit_id": class}))
            .await;
        eventually("the personal chat is silent", async || {
            send(&pupil.client, chat, "?").await.is_err().then_some(())
        })
        .await;
        assert!(send(&teacher.client, chat, "!").await.is_err());
        for (one, two) in [(&teacher, &other), (&pupil, &other)] {
            assert!(!may_write_to(one, two).await);
        }
    }
);

// Case 55: the mother opens the link of her child first. The class teacher releases the record: she is out of
// everything at once, the child joins with a new link as the same member, and she joins with her own.
// Covers: R71 allowed, R71 refused, F10 allowed, F10 refused
on_both_topologies!(
    released_record_goes_to_the_right_person,
    |suite: Suite| async move {
        let school = suite.school("Школа № 1").await;
        let class = school.class("5А").await;
        let leader = school.class_teacher("Анна Белова", &class).await;
        let by = &leader.client;
        let expected = json!({"full_name": "Иван Иванов", "role": "ROLE_PUPIL", "unit_id": class});
        let made = by.must("MemberService/CreateMember", expected).await;
        let record = made["member"]["id"].as_str().unwrap();
        let wanted = json!({"role": "ROLE_PUPIL", "unit_id": class, "claim_member_id": record});
        let link = school.link(&leader, wanted.clone()).await;
        let spare = school.link(&leader, wanted.clone()).await;
        let mother = suite.newcomer("Мария Иванова").await;
        let opened = mother.join(&link, &leader).await;
        assert_eq!(opened.member_id, record);
        let direct = json!({"member_id": leader.member_id});
        let direct = opened.client.must("ChatService/CreateDirectChat", direct).await;
        let direct = direct["chat"]["id"].as_str().unwrap();
        send(&opened.client, direct, "Это мама").await.unwrap();

        let release = json!({"member_id": record});
        let released = by.must("MemberService/ReleaseProfile", release).await;
        assert_eq!(released["member"]["state"], "MEMBER_STATE_EXPECTED");
        for rpc in ["ChatService/ListChats", "CallService/ListOccurrences"] {
            eventually("the account is out", async || {
                opened.client.call(rpc, json!({})).await.err().map(|_| ())
            })
            .await;
        }
        let enter = json!({"org_id": opened.client.org_id()});
        let rpc = "AuthenticationService/IssueOrganizationToken";
        assert_eq!(mother.client.refused(rpc, enter).await.reason, "NOT_FOUND");
        let link = school.link(&leader, wanted).await;
        let resolve = json!({"link_token": spare});
        let rpc = "InvitationService/ResolveInvitation";
        let refused = suite.anonymous().refused(rpc, resolve).await;
        assert_eq!(refused.reason, "INVITATION_NOT_USABLE");

        let child = suite.newcomer("Иван Иванов").await.join(&link, &leader).await;
        assert_eq!(child.member_id, record);
        eventually("the child is in the class", async || {
            chat_of(&child, "CHAT_KIND_CLASS_PUPILS").await
        })
        .await;
        assert_eq!(chat_of(&child, "CHAT_KIND_DIRECT").await, None);
        let read = json!({"chat_id": direct});
        let refused = child.client.refused("MessageService/ListEntries", read).await;
        assert_eq!(refused.reason, "NOT_FOUND");
        // The member is active again, and yet not for the tokens of the mother.
        for rpc in ["ChatService/ListChats", "MemberService/ListMembers"] {
            eventually("the token is revoked", async || {
                let refused = opened.client.call(rpc, json!({})).await.err()?;
                (reason(&refused) == "CREDENTIAL_REVOKED").then_some(())
            })
            .await;
        }
        let wanted = json!({"role": "ROLE_PARENT", "unit_id": class, "child_id": record, "max_uses": 1});
        let link = school.link(&leader, wanted).await;
        let parent = mother.join(&link, &leader).await;
        assert_ne!(parent.member_id, record);
        parent.client.must("MemberService/ListMembers", json!({})).await;
    }
);
