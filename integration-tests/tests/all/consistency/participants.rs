//! Changes of participants: by calls in custom chats, and by transfers between classes in derived chats.
use std::{collections::BTreeMap, sync::Arc, time::Duration};

use parta_integration_tests::{Chance, Client};
use parta_testkit::dynamic;
use serde_json::{Value, json};

use crate::consistency::{
    round::Round,
    workload::{ADMINISTRATOR, FIRST_PUPIL},
    writer::{Answer, answer, pause},
};

/// Time limit for a definite outcome of a move.
const PATIENCE: Duration = Duration::from_secs(90);

/// Numbers of acknowledged additions and removals in a chat, by member id.
pub(crate) type Moves = BTreeMap<String, (usize, usize)>;

/// Retries the same request until the outcome is definite. Some requests are repeated after success.
async fn until_done(round: &Round, client: &Client, rpc: &str, mut body: Value, seeded_rng: &mut Chance) {
    let method = dynamic::method(rpc);
    body["request_id"] = json!(seeded_rng.uuid());
    body["org_id"] = json!(client.org_id());
    let again = seeded_rng.one_in(4);
    let done = async {
        let mut answers = Vec::new();
        while answers.len() <= usize::from(again) {
            let client = client.at("chat", round.replica(seeded_rng));
            match answer(client.once(&method, body.clone()).await) {
                Answer::Done(value) => answers.push(value),
                Answer::Refused(why) => panic!("{rpc} was refused: {why}"),
                Answer::Lost => {
                    round.stats.retries.add();
                    pause(seeded_rng).await;
                }
            }
        }
        if again {
            round.stats.repetitions.add();
        }
        // A repeated request returns the current state of the same chat, including later messages.
        if !answers.windows(2).all(|two| shows_later(&two[0], &two[1])) {
            round.found(format!("{rpc}, repeated, returned {answers:?}"));
        }
    };
    let settled = tokio::time::timeout(PATIENCE, done).await;
    assert!(settled.is_ok(), "{rpc} has no definite answer");
    round.stats.moves.add();
}

/// Returns whether the second response shows the state of the first or a later state. Responses without a
/// chat must be equal.
fn shows_later(first: &Value, second: &Value) -> bool {
    if first["chat"].is_null() {
        return first == second;
    }
    let head = |answer: &Value| -> Option<i64> { answer["chat"]["head_seq"].as_str()?.parse().ok() };
    let of_one_chat = first["chat"]["id"].is_string() && first["chat"]["id"] == second["chat"]["id"];
    of_one_chat && head(first).zip(head(second)).is_some_and(|(one, two)| one <= two)
}

/// Adds participants to a custom chat and removes them, until all messages are written.
pub(crate) async fn by_hand(round: Arc<Round>, chat: usize) -> Moves {
    let mut seeded_rng = round.seeded_rng("mover", chat);
    let client = &round.workload.people[ADMINISTRATOR].client.on_its_own();
    let of = &round.workload.chats[chat];
    let mut present: BTreeMap<usize, bool> = of.movable.iter().map(|who| (*who, true)).collect();
    let mut moves = Moves::new();
    while round.course().goes_on(&mut seeded_rng, 60).await {
        let inside = present[seeded_rng.of(&of.movable)];
        let mut moved: Vec<usize> = of
            .movable
            .iter()
            .copied()
            .filter(|who| present[who] == inside)
            .collect();
        let begin = seeded_rng.below(moved.len());
        moved.rotate_left(begin);
        moved.truncate(1 + seeded_rng.below(2));
        let ids: Vec<_> = moved
            .iter()
            .map(|who| round.workload.people[*who].member_id.clone())
            .collect();
        let rpc = if inside {
            "parta.chat.v1.ChatService/RemoveParticipants"
        } else {
            "parta.chat.v1.ChatService/AddParticipants"
        };
        let body = json!({"chat_id": of.id, "member_ids": ids});
        until_done(&round, client, rpc, body, &mut seeded_rng).await;
        for (who, id) in moved.into_iter().zip(ids) {
            present.insert(who, !inside);
            let (joined, left) = moves.entry(id).or_default();
            *if inside { left } else { joined } += 1;
        }
    }
    moves
}

/// Transfers pupils between the classes until all messages are written. Returns the final classes.
pub(crate) async fn between_classes(round: Arc<Round>) -> Vec<usize> {
    let mut seeded_rng = round.seeded_rng("transfers", 0);
    // The consistency tokens are shared, so that the final listing of the logs waits for these changes.
    let client = &round.workload.people[ADMINISTRATOR].client;
    let mut class_of = round.workload.class_of.clone();
    while round.course().goes_on(&mut seeded_rng, 40).await {
        let pupil = seeded_rng.below(class_of.len());
        let (from, to) = (class_of[pupil], 1 - class_of[pupil]);
        let body = json!({
            "member_id": round.workload.people[FIRST_PUPIL + pupil].member_id,
            "from_unit_id": round.workload.classes[from],
            "to_unit_id": round.workload.classes[to],
        });
        let rpc = "parta.membership.v1.EnrollmentService/TransferPupil";
        until_done(&round, client, rpc, body, &mut seeded_rng).await;
        class_of[pupil] = to;
    }
    class_of
}
