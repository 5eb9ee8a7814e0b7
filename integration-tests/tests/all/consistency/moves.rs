//! Who comes and goes: by hand in the chats that name people, by a change of class in the others.
use std::{collections::BTreeMap, sync::Arc, time::Duration};

use parta_integration_tests::{Chance, Client};
use parta_testkit::dynamic;
use serde_json::{Value, json};

use crate::consistency::{
    round::Round,
    workload::{ADMINISTRATOR, FIRST_PUPIL},
    writer::{Answer, answer, pause},
};

/// Longest that a move may remain without a definite answer.
const PATIENCE: Duration = Duration::from_secs(90);

/// How often somebody was brought in and taken out of a chat, by the answers, by member id.
pub(crate) type Moves = BTreeMap<String, (usize, usize)>;

/// Calls until the answer is definite, the same act each time. Some acts are repeated all the same.
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
        // A repetition shows the chat as it is now: the same chat, with all that was written meanwhile.
        if !answers.windows(2).all(|two| shows_later(&two[0], &two[1])) {
            round.found(format!("{rpc}, repeated, answered {answers:?}"));
        }
    };
    let settled = tokio::time::timeout(PATIENCE, done).await;
    assert!(settled.is_ok(), "{rpc} has no definite answer");
    round.stats.moves.add();
}

/// Whether the second response shows the state of the first or a later one: of a chat with all its entries since, of
/// anything else the same.
fn shows_later(first: &Value, second: &Value) -> bool {
    if first["chat"].is_null() {
        return first == second;
    }
    let head = |answer: &Value| -> Option<i64> { answer["chat"]["head_seq"].as_str()?.parse().ok() };
    let of_one_chat = first["chat"]["id"].is_string() && first["chat"]["id"] == second["chat"]["id"];
    of_one_chat && head(first).zip(head(second)).is_some_and(|(one, two)| one <= two)
}

/// Brings people into a chat that names people and takes them out of it, until everything is written.
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

/// Moves pupils from class to class, until everything is written; answers in which they are.
pub(crate) async fn between_classes(round: Arc<Round>) -> Vec<usize> {
    let mut seeded_rng = round.seeded_rng("transfers", 0);
    // What it has seen is shared, so that whoever lists the logs in the end waits until chat has come as far.
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
