//! A person who signs in with a one-time code of the school, until another person has confirmed it.
use super::*;

/// The texts of the entries of a chat that a person reads, oldest first.
async fn texts(person: &Person, chat: &str) -> Vec<String> {
    let list = json!({"chat_id": chat, "after_seq": 0, "page_size": 200});
    let listed = person.client.must("MessageService/ListEntries", list).await;
    let entries = listed["entries"].as_array().unwrap();
    let texts = entries
        .iter()
        .filter_map(|entry| entry["message"]["text"].as_str());
    texts.map(str::to_owned).collect()
}

/// The texts that a person reads from the end of a chat.
async fn latest(person: &Person, chat: &str) -> Vec<String> {
    let list = json!({"chat_id": chat, "page_size": 200});
    let listed = person.client.must("MessageService/ListEntries", list).await;
    let entries = listed["entries"].as_array().unwrap();
    let texts = entries
        .iter()
        .filter_map(|entry| entry["message"]["text"].as_str());
    texts.map(str::to_owned).collect()
}

async fn unread(person: &Person, chat: &str) -> i64 {
    let found = person
        .client
        .must("ChatService/GetChat", json!({"chat_id": chat}))
        .await;
    let listed = person
        .client
        .must("ChatService/ListChats", json!({"page_size": 200}))
        .await;
    let listed = listed["chats"].as_array().unwrap();
    let listed = listed.iter().find(|shown| shown["id"] == json!(chat)).unwrap();
    let count = &found["chat"]["unread_count"];
    assert_eq!(&listed["unread_count"], count);
    count.as_str().unwrap().parse().unwrap()
}

/// Signs a member in with a code that a member of the staff gives. Returns the session of the account, and
/// the member.
async fn sign_in_by_code(school: &School, by: &Person, member: &Person) -> (Client, Person) {
    let wanted = json!({"member_id": member.member_id});
    let issued = by
        .client
        .must("OneTimeCodeService/IssueOneTimeCode", wanted)
        .await;
    let nobody = member.client.anonymous();
    let session = nobody
        .must(
            "OneTimeCodeService/RedeemOneTimeCode",
            json!({"code": issued["code"]}),
        )
        .await;
    let account = nobody.with(session["access_token"].as_str().unwrap());
    let person = enter(school, &account, member).await;
    (account, person)
}

/// The member, with a new token of the organization.
async fn enter(school: &School, account: &Client, member: &Person) -> Person {
    let wanted = json!({"org_id": school.org_id});
    let issued = account
        .must("AuthenticationService/IssueOrganizationToken", wanted)
        .await;
    let client = account.with(issued["access_token"].as_str().unwrap());
    Person {
        client: client.of(&school.org_id),
        account: member.account.clone(),
        member_id: member.member_id.clone(),
    }
}

// The class teacher gives a pupil a code, and could use it herself. Until the mother has confirmed the
// session it reads nothing older than itself in personal and named chats, by no call and no stream, and reads
// the chat of the class as before. The earlier session of the pupil is over.
// Covers: R19 allowed, R19 refused, F11 allowed, F11 refused
on_both_topologies!(
    code_of_the_school_opens_no_older_chats,
    |suite: Suite| async move {
        let school = suite.school("Школа № 1").await;
        let class = school.class("5А").await;
        let leader = school.class_teacher("Анна Белова", &class).await;
        let pupil = school.pupil(&leader, "Иван Иванов", &class).await;
        let friend = school.pupil(&leader, "Ян Котов", &class).await;
        let mother = school.parent(&leader, "Ольга Иванова", &pupil, &class).await;
        let opened = json!({"member_id": pupil.member_id});
        let opened = friend.client.must("ChatService/CreateDirectChat", opened).await;
        let personal = opened["chat"]["id"].as_str().unwrap().to_owned();
        let named = json!({"title": "Кружок", "member_ids": [pupil.member_id, friend.member_id]});
        let named = leader.client.must("ChatService/CreateChat", named).await;
        let named = named["chat"]["id"].as_str().unwrap().to_owned();
        let room = chat_of(&pupil, "CHAT_KIND_CLASS_PUPILS").await.unwrap();
        for chat in [&personal, &named, &room] {
            send(&friend.client, chat, "секрет").await.unwrap();
        }
        assert_eq!(texts(&pupil, &personal).await, ["секрет"]);

        let (account, by_code) = sign_in_by_code(&school, &leader, &pupil).await;
        eventually("the earlier session is over", async || {
            let ended = pupil.client.call("ChatService/ListChats", json!({})).await;
            ended
                .is_err_and(|status| reason(&status) == "CREDENTIAL_REVOKED")
                .then_some(())
        })
        .await;
        for chat in [&personal, &named] {
            assert_eq!(texts(&by_code, chat).await, [""; 0]);
            assert_eq!(latest(&by_code, chat).await, [""; 0]);
            assert_eq!(unread(&by_code, chat).await, 0);
            let all: Vec<i64> = (1..=9).collect();
            let wanted = json!({"chat_id": chat, "seqs": all});
            let named = by_code
                .client
                .must("MessageService/BatchGetAuthors", wanted)
                .await;
            assert!(named["authors"].as_array().is_none_or(Vec::is_empty), "{named:#}");
        }
        assert_eq!(texts(&by_code, &room).await, ["секрет"]);
        assert_eq!(unread(&by_code, &room).await, 1);
        // A stream that resumes from the beginning of each chat.
        let cursors = [&personal, &named, &room].map(|chat| json!({"chat_id": chat, "seq": 0}));
        let resume = json!({"cursors": cursors});
        let mut stream = by_code
            .client
            .open("LiveService/SubscribeChats", resume)
            .await
            .unwrap();
        for chat in [&personal, &named] {
            send(&friend.client, chat, "после входа").await.unwrap();
            assert_eq!(texts(&by_code, chat).await, ["после входа"]);
            assert_eq!(unread(&by_code, chat).await, 1);
        }
        let (mut secrets, mut later) = (0, 0);
        while secrets < 1 || later < 2 {
            let printed = format!("{:?}", stream.next().await.unwrap().unwrap());
            secrets += usize::from(printed.contains("секрет"));
            later += usize::from(printed.contains("после входа"));
        }
        // Only that of the chat of the class.
        assert_eq!(secrets, 1);
        send(&by_code.client, &personal, "Это я").await.unwrap();

        let whose = json!({"member_id": pupil.member_id});
        let used = mother
            .client
            .must("OneTimeCodeService/GetOneTimeCode", whose)
            .await;
        let confirm = json!({
            "member_id": pupil.member_id, "use_time": used["one_time_code"]["use_time"],
        });
        let refused = leader
            .client
            .refused("OneTimeCodeService/ConfirmOneTimeCode", confirm.clone())
            .await;
        assert_eq!(refused.reason, "PERMISSION_DENIED");
        mother
            .client
            .must("OneTimeCodeService/ConfirmOneTimeCode", confirm)
            .await;
        let confirmed = enter(&school, &account, &pupil).await;
        assert_eq!(
            texts(&confirmed, &personal).await,
            ["секрет", "после входа", "Это я"]
        );
        assert_eq!(texts(&confirmed, &named).await, ["секрет", "после входа"]);
    }
);
