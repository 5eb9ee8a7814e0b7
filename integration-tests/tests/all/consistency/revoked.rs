//! Members whose sessions end while faults happen. Every replica refuses them within the promised time, and
//! none accepts them again, also after it was started again.
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use parta_integration_tests::{Client, Person, SeededRng, reason};
use parta_testkit::dynamic;
use serde_json::{Value, json};

use crate::consistency::{round::Round, writer::pause};

/// The time within which every replica that responds refuses an ended session.
const PROMISED: Duration = Duration::from_secs(2);
/// Time limit for a response of a replica.
const TIMEOUT: Duration = Duration::from_secs(90);

enum Attempt {
    Accepted,
    Revoked,
    /// The replica or its database fails.
    NoResponse,
}

async fn attempt(client: &Client, rpc: &str, body: Value) -> Attempt {
    match client.once(&dynamic::method(rpc), body).await {
        Ok(_) => Attempt::Accepted,
        Err(status) if reason(&status) == "CREDENTIAL_REVOKED" => Attempt::Revoked,
        Err(_) => Attempt::NoResponse,
    }
}

/// Ends the session of a person. The response may be lost with the process, so that the call is repeated.
async fn end_session(person: &Person, seeded_rng: &mut SeededRng) {
    let body = json!({"request_id": seeded_rng.uuid()});
    let rpc = "parta.membership.v1.AuthenticationService/EndSession";
    while matches!(
        attempt(&person.account.client, rpc, body.clone()).await,
        Attempt::NoResponse
    ) {
        pause(seeded_rng).await;
    }
}

/// Calls a replica until it refuses the person, whose session has ended.
async fn refused_at(
    round: &Round,
    person: &Person,
    replica: &'static str,
    ended: Instant,
    seeded_rng: &mut SeededRng,
) {
    let client = person.client.on_its_own().at("chat", replica);
    let body = json!({"org_id": client.org_id()});
    let started = Instant::now();
    while started.elapsed() < TIMEOUT {
        let called = ended.elapsed();
        match attempt(&client, "parta.chat.v1.ChatService/ListChats", body.clone()).await {
            Attempt::Revoked => return,
            Attempt::Accepted if called > PROMISED => {
                let member = &person.member_id;
                return round.report(format!(
                    "{replica} accepts {member} {called:?} after the end of the session"
                ));
            }
            Attempt::Accepted | Attempt::NoResponse => pause(seeded_rng).await,
        }
    }
    round.report(format!("{replica} has no response within the time limit"));
}

/// Ends the session of one person after the other during the round. Looks at all of them again at its end.
pub(crate) async fn end_sessions(round: Arc<Round>) {
    let mut seeded_rng = round.seeded_rng("revocations", 0);
    let mut all = Vec::new();
    for person in &round.workload.revocable {
        round.progress().wait_random_part(&mut seeded_rng, 4).await;
        end_session(person, &mut seeded_rng).await;
        let ended = Instant::now();
        for replica in round.replicas.iter().copied() {
            refused_at(&round, person, replica, ended, &mut seeded_rng).await;
        }
        round.stats.revocations.add();
        all.push((person, ended));
    }
    round.progress().wait_until_end().await;
    for (person, ended) in all {
        for replica in round.replicas.iter().copied() {
            refused_at(&round, person, replica, ended, &mut seeded_rng).await;
        }
    }
}
