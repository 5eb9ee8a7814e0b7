//! Changes of participants: by calls in custom chats, and by transfers between classes in derived chats.
use std::{collections::BTreeMap, sync::Arc, time::Duration};

use parta_integration_tests::{Client, SeededRng};
use parta_testkit::dynamic;
use serde_json::{Value, json};

use crate::consistency::{
    round::Round,
    workload::{ADMINISTRATOR, FIRST_PUPIL},
    writer::{AttemptResult, classify, pause},
};

/// Time limit for a definite outcome of a change.
const TIMEOUT: Duration = Duration::from_secs(90);

/// Numbers of acknowledged additions and removals in a chat, by member id.
pub(crate) type ParticipantChanges = BTreeMap<String, (usize, usize)>;

/// Retries the same request until the outcome is definite. Some requests are repeated after success.
async fn call_until_definite(
    round: &Round,
    client: &Client,
    rpc: &str,
    mut body: Value,
    seeded_rng: &mut SeededRng,
) {
    let method = dynamic::method(rpc);
    body["request_id"] = json!(seeded_rng.uuid());
    body["org_id"] = json!(client.org_id());
    let is_repeated = seeded_rng.one_in(4);
    let calls = async {
        let mut responses = Vec::new();
        while responses.len() <= usize::from(is_repeated) {
            let client = client.at("chat", round.replica(seeded_rng));
            match classify(client.once(&method, body.clone()).await) {
                AttemptResult::Done(value) => responses.push(value),
                AttemptResult::Refused(reason) => panic!("{rpc} was refused: {reason}"),
                AttemptResult::NoResponse => {
                    round.stats.retries.add();
                    pause(seeded_rng).await;
                }
            }
        }
        if is_repeated {
            round.stats.repetitions.add();
        }
        // A repeated request returns the current state of the same chat, including later messages.
        if !responses.windows(2).all(|two| is_same_or_later(&two[0], &two[1])) {
            round.report(format!("{rpc} was repeated and returned {responses:?}"));
        }
    };
    let completed = tokio::time::timeout(TIMEOUT, calls).await;
    assert!(
        completed.is_ok(),
        "{rpc} has no definite outcome within the time limit"
    );
    round.stats.participant_changes.add();
}

/// Returns whether the second response shows the state of the first or a later state. Responses without a
/// chat must be equal.
fn is_same_or_later(first: &Value, second: &Value) -> bool {
    if first["chat"].is_null() {
        return first == second;
    }
    let head = |response: &Value| -> Option<i64> { response["chat"]["head_seq"].as_str()?.parse().ok() };
    let is_same_chat = first["chat"]["id"].is_string() && first["chat"]["id"] == second["chat"]["id"];
    is_same_chat && head(first).zip(head(second)).is_some_and(|(one, two)| one <= two)
}

/// Repeatedly adds participants to a custom chat and removes them, until all messages are sent.
pub(crate) async fn change_custom_chat(round: Arc<Round>, chat: usize) -> ParticipantChanges {
    let mut seeded_rng = round.seeded_rng("participants", chat);
    let client = &round.workload.people[ADMINISTRATOR].client.on_its_own();
    let chat_plan = &round.workload.chats[chat];
    let mut present: BTreeMap<usize, bool> = chat_plan.movable.iter().map(|index| (*index, true)).collect();
    let mut changes = ParticipantChanges::new();
    while round.progress().wait_random_part(&mut seeded_rng, 60).await {
        let is_present = present[seeded_rng.choose(&chat_plan.movable)];
        let mut changed: Vec<usize> = chat_plan
            .movable
            .iter()
            .copied()
            .filter(|index| present[index] == is_present)
            .collect();
        let begin = seeded_rng.below(changed.len());
        changed.rotate_left(begin);
        changed.truncate(1 + seeded_rng.below(2));
        let ids: Vec<_> = changed
            .iter()
            .map(|index| round.workload.people[*index].member_id.clone())
            .collect();
        let rpc = if is_present {
            "parta.chat.v1.ChatService/RemoveParticipants"
        } else {
            "parta.chat.v1.ChatService/AddParticipants"
        };
        let body = json!({"chat_id": chat_plan.id, "member_ids": ids});
        call_until_definite(&round, client, rpc, body, &mut seeded_rng).await;
        for (index, id) in changed.into_iter().zip(ids) {
            present.insert(index, !is_present);
            let (joined, left) = changes.entry(id).or_default();
            *if is_present { left } else { joined } += 1;
        }
    }
    changes
}

/// Repeatedly transfers pupils between the classes until all messages are sent. Returns the final classes.
pub(crate) async fn transfer_pupils(round: Arc<Round>) -> Vec<usize> {
    let mut seeded_rng = round.seeded_rng("transfers", 0);
    // The consistency tokens are shared, so that the final listing of the logs waits for these changes.
    let client = &round.workload.people[ADMINISTRATOR].client;
    let mut class_of = round.workload.class_of.clone();
    while round.progress().wait_random_part(&mut seeded_rng, 40).await {
        let pupil = seeded_rng.below(class_of.len());
        let (from, to) = (class_of[pupil], 1 - class_of[pupil]);
        let body = json!({
            "member_id": round.workload.people[FIRST_PUPIL + pupil].member_id,
            "from_unit_id": round.workload.classes[from],
            "to_unit_id": round.workload.classes[to],
        });
        let rpc = "parta.membership.v1.EnrollmentService/TransferPupil";
        call_until_definite(&round, client, rpc, body, &mut seeded_rng).await;
        class_of[pupil] = to;
    }
    class_of
}
