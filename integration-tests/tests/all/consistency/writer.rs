//! Writers: each sends one message after the other and retries it with the same `request_id`, at any replica,
//! until the outcome is definite.
use std::{collections::BTreeMap, sync::Arc, time::Duration};

use parta_integration_tests::{Chance, Client};
use parta_proto::parta::chat::v1::{self as pb, message_service_client::MessageServiceClient};
use parta_status::RpcError;
use tonic::{Code, Status};

use crate::consistency::round::Round;

/// Time limit for a definite outcome of a message.
const PATIENCE: Duration = Duration::from_secs(90);

/// The outcome of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fate {
    /// The message is in the log.
    Stored { seq: i64, entry_id: String },
    /// The message is not in the log.
    Refused,
    /// The last attempt was refused, but an earlier attempt had no response. It may have been stored after
    /// the refusal, if the sender joined again. The log has the message at most once.
    Unknown,
}

/// A message of one writer.
#[derive(Debug, Clone)]
pub(crate) struct Act {
    pub(crate) chat: usize,
    pub(crate) sender: String,
    pub(crate) text: String,
    pub(crate) fate: Fate,
}

/// The outcome of one attempt.
pub(crate) enum Answer<T> {
    Done(T),
    /// Refused with a documented reason that a retry does not change.
    Refused(String),
    /// The outcome is unknown.
    Lost,
}

/// Classifies the outcome of a call. Panics at an unexpected code.
pub(crate) fn answer<T>(outcome: Result<T, Status>) -> Answer<T> {
    let status = match outcome {
        Ok(done) => return Answer::Done(done),
        Err(status) => status,
    };
    let Some(refusal) = RpcError::from_status(&status) else {
        // The connection failed during the call.
        return Answer::Lost;
    };
    match refusal.code() {
        Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled | Code::Aborted => Answer::Lost,
        Code::NotFound | Code::PermissionDenied | Code::FailedPrecondition => {
            Answer::Refused(refusal.reason().to_owned())
        }
        code => panic!("{code:?} {}: {}", refusal.reason(), status.message()),
    }
}

/// Waits for a short random time before a retry. The tests do not depend on its length.
pub(crate) async fn pause(seeded_rng: &mut Chance) {
    tokio::time::sleep(Duration::from_millis(5 + seeded_rng.below(40) as u64)).await;
}

struct Writer {
    round: Arc<Round>,
    client: Client,
    seeded_rng: Chance,
}

struct Message {
    chat: usize,
    request_id: String,
    text: String,
}

/// Sends the messages of one writer.
pub(crate) async fn write(round: Arc<Round>, number: usize) -> Vec<Act> {
    let person = &round.workload.people[number % round.workload.people.len()];
    let mut writer = Writer {
        client: person.client.on_its_own(),
        seeded_rng: round.seeded_rng("writer", number),
        round: round.clone(),
    };
    let here = |chat: &usize| {
        let who = number % round.workload.people.len();
        round.workload.chats[*chat].people.contains(&who)
    };
    let chats: Vec<usize> = (0..round.workload.chats.len()).filter(here).collect();
    let mut acts = Vec::new();
    for n in 0..round.size.acts {
        let message = Message {
            chat: *writer.seeded_rng.of(&chats),
            request_id: writer.seeded_rng.uuid(),
            text: format!("{}/{number}/{n}", round.name),
        };
        let settled = tokio::time::timeout(PATIENCE, writer.act(&message)).await;
        let fate = settled.unwrap_or_else(|_| panic!("{} has no definite answer", message.text));
        acts.push(Act {
            chat: message.chat,
            sender: person.member_id.clone(),
            text: message.text,
            fate,
        });
        round.settled();
    }
    acts
}

impl Writer {
    async fn act(&mut self, message: &Message) -> Fate {
        let stats = self.round.stats.clone();
        let fate = if self.seeded_rng.one_in(8) {
            stats.repetitions.add();
            self.twice_at_once(message).await
        } else {
            self.until_definite(message).await
        };
        match &fate {
            Fate::Stored { seq, .. } => {
                self.round.acknowledged(message.chat, *seq);
                stats.acknowledged.add();
            }
            Fate::Refused | Fate::Unknown => stats.refused.add(),
        }
        if matches!(fate, Fate::Stored { .. }) && self.seeded_rng.one_in(6) {
            stats.repetitions.add();
            // The outcome must not change, even if the sender has left or joined since.
            let again = self.until_definite(message).await;
            if again != fate {
                let text = &message.text;
                self.round.found(format!(
                    "the outcome of {text} was {fate:?}, and of its repetition {again:?}"
                ));
            }
        }
        fate
    }

    async fn until_definite(&mut self, message: &Message) -> Fate {
        let mut lost = false;
        loop {
            let replica = self.replica();
            match self.attempt(message, replica).await {
                Answer::Done(stored) => return stored,
                Answer::Refused(_) if lost => return Fate::Unknown,
                Answer::Refused(_) => return Fate::Refused,
                Answer::Lost => {
                    lost = true;
                    self.round.stats.retries.add();
                    pause(&mut self.seeded_rng).await;
                }
            }
        }
    }

    /// Sends the same message to two replicas concurrently, like a client that did not wait for a timeout.
    async fn twice_at_once(&mut self, message: &Message) -> Fate {
        let (one, other) = (self.replica(), self.replica());
        let both = tokio::join!(self.attempt(message, one), self.attempt(message, other));
        match both {
            (Answer::Done(one), Answer::Done(other)) => {
                if one != other {
                    let text = &message.text;
                    self.round
                        .found(format!("{text}, sent twice at once, is {one:?} and {other:?}"));
                }
                one
            }
            // The sender joined between the two attempts.
            (Answer::Done(stored), _) | (_, Answer::Done(stored)) => stored,
            (Answer::Refused(_), Answer::Refused(_)) => Fate::Refused,
            _ => match self.until_definite(message).await {
                Fate::Refused => Fate::Unknown,
                other => other,
            },
        }
    }

    fn replica(&mut self) -> &'static str {
        self.round.replica(&mut self.seeded_rng)
    }

    async fn attempt(&self, message: &Message, replica: &str) -> Answer<Fate> {
        let request = self.client.request(pb::SendMessageRequest {
            request_id: message.request_id.clone(),
            org_id: self.client.org_id().unwrap().to_owned(),
            chat_id: self.round.workload.chats[message.chat].id.clone(),
            text: message.text.clone(),
        });
        let mut api = MessageServiceClient::new(self.client.channel(replica));
        let stored = api.send_message(request).await;
        answer(stored.map(|stored| {
            let stored = stored.into_inner();
            Fate::Stored {
                seq: stored.seq,
                entry_id: stored.entry_id,
            }
        }))
    }
}

/// Sends a last message of the witness in every chat, one after the other and by one replica. The chat of all
/// members is last: a reader who received that message would also have received the earlier ones, permitted
/// or not.
pub(crate) async fn last_words(round: &Arc<Round>) -> Vec<Act> {
    let mut acts = BTreeMap::new();
    for (chat, of) in round.workload.chats.iter().enumerate().rev() {
        let person = &round.workload.people[of.witness];
        let mut writer = Writer {
            client: person.client.on_its_own(),
            seeded_rng: round.seeded_rng("witness", chat),
            round: round.clone(),
        };
        let message = Message {
            chat,
            request_id: writer.seeded_rng.uuid(),
            text: format!("{}/конец/{chat}", round.name),
        };
        let fate = match writer.attempt(&message, round.replicas[0]).await {
            Answer::Done(stored) => stored,
            Answer::Refused(why) => panic!("the witness may not write: {why}"),
            Answer::Lost => writer.until_definite(&message).await,
        };
        let act = Act {
            chat,
            sender: person.member_id.clone(),
            text: message.text,
            fate,
        };
        acts.insert(chat, act);
    }
    acts.into_values().collect()
}
