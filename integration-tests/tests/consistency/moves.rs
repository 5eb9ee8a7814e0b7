//! Who comes and goes: by hand in the chats that name people, by a change of class in the others.
use std::{collections::BTreeMap, sync::Arc, time::Duration};

use parta_integration_tests::{Chance, Client};
use parta_testkit::dynamic;
use serde_json::{Value, json};

use crate::{
    round::Round,
    scene::{ADMINISTRATOR, FIRST_PUPIL},
    writer::{Answer, answer, pause},
};

/// Longest that a move may remain without a definite answer.
const PATIENCE: Duration = Duration::from_secs(90);

/// How often somebody was brought in and taken out of a chat, by the answers, by member id.
pub(crate) type Moves = BTreeMap<String, (usize, usize)>;

/// Calls until the answer is definite, the same act each time. Some acts are repeated all the same.
async fn until_done(round: &Round, client: &Client, rpc: &str, mut body: Value, chance: &mut Chance) {
    let method = dynamic::method(rpc);
    body["request_id"] = json!(chance.uuid());
    body["org_id"] = json!(client.org_id());
    let again = chance.one_in(4);
    let done = async {
        let mut answers = Vec::new();
        while answers.len() <= usize::from(again) {
            let client = client.at("chat", round.replica(chance));
            match answer(client.once(&method, body.clone()).await) {
                Answer::Done(value) => answers.push(value),
                Answer::Refused(why) => panic!("{rpc} was refused: {why}"),
                Answer::Lost => {
                    round.tally.retries.add();
                    pause(chance).await;
                }
            }
        }
        if again {
            round.tally.repetitions.add();
        }
        if answers.windows(2).any(|two| two[0] != two[1]) {
            round.found(format!("{rpc}, repeated, answered {answers:?}"));
        }
    };
    let settled = tokio::time::timeout(PATIENCE, done).await;
    assert!(settled.is_ok(), "{rpc} has no definite answer");
    round.tally.moves.add();
}

/// Brings people into a chat that names people and takes them out of it, until everything is written.
pub(crate) async fn by_hand(round: Arc<Round>, chat: usize) -> Moves {
    let mut chance = round.chance("mover", chat);
    let client = &round.scene.people[ADMINISTRATOR].client.on_its_own();
    let of = &round.scene.chats[chat];
    let mut present: BTreeMap<usize, bool> = of.movable.iter().map(|who| (*who, true)).collect();
    let mut moves = Moves::new();
    while round.course().goes_on(&mut chance, 60).await {
        let inside = present[chance.of(&of.movable)];
        let mut moved: Vec<usize> = of
            .movable
            .iter()
            .copied()
            .filter(|who| present[who] == inside)
            .collect();
        let begin = chance.below(moved.len());
        moved.rotate_left(begin);
        moved.truncate(1 + chance.below(2));
        let ids: Vec<_> = moved
            .iter()
            .map(|who| round.scene.people[*who].member_id.clone())
            .collect();
        let rpc = if inside {
            "parta.chat.v1.ChatService/RemoveParticipants"
        } else {
            "parta.chat.v1.ChatService/AddParticipants"
        };
        let body = json!({"chat_id": of.id, "member_ids": ids});
        until_done(&round, client, rpc, body, &mut chance).await;
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
    let mut chance = round.chance("transfers", 0);
    // What it has seen is shared, so that whoever lists the logs in the end waits until chat has come as far.
    let client = &round.scene.people[ADMINISTRATOR].client;
    let mut class_of = round.scene.class_of.clone();
    while round.course().goes_on(&mut chance, 40).await {
        let pupil = chance.below(class_of.len());
        let (from, to) = (class_of[pupil], 1 - class_of[pupil]);
        let body = json!({
            "member_id": round.scene.people[FIRST_PUPIL + pupil].member_id,
            "from_unit_id": round.scene.classes[from],
            "to_unit_id": round.scene.classes[to],
        });
        let rpc = "parta.membership.v1.EnrollmentService/TransferPupil";
        until_done(&round, client, rpc, body, &mut chance).await;
        class_of[pupil] = to;
    }
    class_of
}
