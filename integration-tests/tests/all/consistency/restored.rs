//! The restore of membership after a round. A member who was removed since the backup gets no access back,
//! and no chat loses an entry.
use parta_integration_tests::{Client, Person, Suite};
use serde_json::{Value, json};
use tonic::Code;

use crate::{
    consistency::workload::{ADMINISTRATOR, COLLEAGUE, Workload},
    restored::{again, participants, restore},
};

/// Returns all entries of a chat, as a participant reads them.
async fn entries(of: &Client, chat_id: &str) -> Vec<Value> {
    let (mut all, mut token) = (Vec::new(), String::new());
    loop {
        let page = json!({"chat_id": chat_id, "after_seq": 0, "page_size": 200, "page_token": token});
        let listed = of.must("MessageService/ListEntries", page).await;
        all.extend(
            listed["entries"]
                .as_array()
                .expect("a list of entries")
                .iter()
                .cloned(),
        );
        listed["next_page_token"]
            .as_str()
            .unwrap_or_default()
            .clone_into(&mut token);
        if token.is_empty() {
            return all;
        }
    }
}

/// Removes a member, restores membership from the backup in the folder, and returns what is wrong then.
pub(crate) async fn restore_membership(
    suite: &Suite,
    processes: &[&'static str],
    folder: &str,
    workload: &Workload,
) -> Vec<String> {
    let (administrator, removed) = (&workload.people[ADMINISTRATOR], &workload.people[COLLEAGUE]);
    let remove = json!({"member_id": removed.member_id});
    let client = &administrator.client;
    client.must("MemberService/RemoveMember", remove).await;
    let chats: Vec<&str> = workload
        .chats
        .iter()
        .filter(|chat| !chat.derived)
        .map(|chat| &*chat.id)
        .collect();
    let mut before = Vec::new();
    for chat in &chats {
        before.push(entries(client, chat).await);
    }
    restore(suite, folder, processes).await;
    let org_id = &workload.school.org_id;
    let administrator = again(suite, administrator, org_id).await;
    let mut violations = has_access(suite, removed, org_id).await;
    if participants(&administrator.client)
        .await
        .contains(&removed.member_id)
    {
        violations.push("the removed member is a participant after the restore".to_owned());
    }
    for (chat, before) in chats.iter().zip(before) {
        let after = entries(&administrator.client, chat).await;
        if !after.starts_with(&before) {
            violations.push(format!("chat {chat} has lost entries: {before:?} {after:?}"));
        }
    }
    violations
}

async fn has_access(suite: &Suite, person: &Person, org_id: &str) -> Vec<String> {
    let account = suite.sign_in(&person.account.phone, &person.account.full_name);
    let (rpc, enter) = (
        "AuthenticationService/IssueOrganizationToken",
        json!({"org_id": org_id}),
    );
    match account.await.client.call(rpc, enter).await {
        Err(status) if status.code() == Code::NotFound => Vec::new(),
        other => vec![format!("the removed member enters after the restore: {other:?}")],
    }
}
