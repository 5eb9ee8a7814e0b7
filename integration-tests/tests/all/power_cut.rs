//! Acknowledged writes survive a power cut, and repeated requests take effect once.
#![expect(clippy::unwrap_used, reason = "a test may fail loudly")]
use std::collections::BTreeMap;

use futures::future::join_all;
use parta_integration_tests::{Client, Suite};
use serde_json::{Value, json};
use tokio::sync::watch;

/// Number of messages acknowledged before the cut.
const BEFORE: usize = 60;

/// Sent messages by request id: the text and, if acknowledged, the sequence number.
type Acts = BTreeMap<String, (String, Option<i64>)>;

fn seq_of(response: &Value) -> i64 {
    response["seq"].as_str().unwrap().parse().unwrap()
}

/// Sends until the suite is gone, and reports each acknowledgement.
async fn burst(client: Client, chat: Value, name: usize, acknowledged_sender: watch::Sender<usize>) -> Acts {
    let method = parta_testkit::dynamic::method("parta.chat.v1.MessageService/SendMessage");
    let org = client.org_id().unwrap().to_owned();
    let mut acts = Acts::new();
    for n in 0_usize.. {
        let (request_id, text) = (client.request_id(), format!("{name}: {n}"));
        let body = json!({"request_id": request_id, "org_id": org, "chat_id": chat, "text": text});
        let response = client.once(&method, body).await;
        acts.insert(request_id, (text, response.as_ref().ok().map(seq_of)));
        if response.is_err() {
            break;
        }
        acknowledged_sender.send_modify(|acknowledged| *acknowledged += 1);
    }
    acts
}

async fn all_messages(client: &Client, chat: &Value) -> Vec<(i64, Option<String>)> {
    let (mut entries, mut page) = (
        Vec::new(),
        json!({"chat_id": chat, "after_seq": "0", "page_size": 200}),
    );
    loop {
        let response = client.must("MessageService/ListEntries", page.clone()).await;
        let list = response["entries"].as_array().unwrap().clone();
        let entry = |e: &Value| (seq_of(e), e["message"]["text"].as_str().map(ToOwned::to_owned));
        entries.extend(list.iter().map(entry));
        match response["next_page_token"].as_str() {
            Some(token) if !token.is_empty() => page["page_token"] = json!(token),
            _ => return entries,
        }
    }
}

async fn survives(suite: Suite) {
    let school = suite.school("Школа № 1").await;
    let class = school.class("5А").await;
    let teacher = school.class_teacher("Мария Кузнецова", &class).await;
    let mut people = vec![teacher.clone(), school.administrator.clone()];
    people.push(school.teacher("Олег Попов").await);
    let made = json!({"title": "Педсовет", "member_ids": people[1..].iter().map(|p| &p.member_id).collect::<Vec<_>>()});
    let made = teacher.client.must("ChatService/CreateChat", made).await;
    let chat = made["chat"]["id"].clone();

    let (acknowledged_sender, mut acknowledged) = watch::channel(0);
    let senders = people.iter().cycle().take(12).enumerate();
    let bursts = join_all(
        senders.map(|(n, who)| burst(who.client.clone(), chat.clone(), n, acknowledged_sender.clone())),
    );
    let cut = async {
        acknowledged.wait_for(|n| *n >= BEFORE).await.unwrap();
        suite.kill("chat").await;
    };
    let (acts, ()) = tokio::join!(bursts, cut);
    suite.restart("chat").await;

    // Every sender repeats the last two requests. One was acknowledged, the outcome of the other is unknown.
    let mut known = BTreeMap::new();
    for (n, mut mine) in acts.into_iter().enumerate() {
        let who = &people[n % people.len()];
        let unknown: Vec<_> = mine
            .iter()
            .filter(|(_, (_, at))| at.is_none())
            .map(|(id, _)| id.clone())
            .collect();
        let sure = mine
            .iter()
            .filter(|(_, (_, at))| at.is_some())
            .map(|(id, _)| id.clone())
            .next_back();
        for id in unknown.into_iter().chain(sure) {
            let (text, at) = mine.get_mut(&id).unwrap();
            let again = json!({"request_id": id, "chat_id": chat, "text": text});
            let response = who.client.must("MessageService/SendMessage", again).await;
            assert_eq!(
                at.unwrap_or_else(|| seq_of(&response)),
                seq_of(&response),
                "a repeated message has another sequence number"
            );
            *at = Some(seq_of(&response));
        }
        known.extend(mine.into_values().map(|(text, at)| (at.unwrap(), text)));
    }
    let entries = all_messages(&teacher.client, &chat).await;
    let sequence_numbers: Vec<i64> = entries.iter().map(|(seq, _)| *seq).collect();
    let gapless: Vec<i64> = (1..=i64::try_from(sequence_numbers.len()).unwrap()).collect();
    assert_eq!(sequence_numbers, gapless);
    let kept: BTreeMap<i64, String> = entries
        .into_iter()
        .filter_map(|(seq, text)| Some((seq, text?)))
        .collect();
    assert_eq!(kept, known);
    assert!(kept.len() >= BEFORE);
}

/// Covers: R39 allowed
mod acknowledged_messages_survive_a_power_cut {
    use super::*;

    const PROGRAM: &str = env!("CARGO_BIN_EXE_suite-process");

    #[test]
    fn one_process() {
        parta_testkit::run(async {
            let suite = Suite::process(PROGRAM).await;
            survives(suite.clone()).await;
            suite.stop().await;
        });
    }

    #[test]
    fn split() {
        parta_testkit::run(async {
            let suite = Suite::split(PROGRAM).await;
            survives(suite.clone()).await;
            suite.stop().await;
        });
    }
}
