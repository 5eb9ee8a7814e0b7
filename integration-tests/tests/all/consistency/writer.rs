//! Who writes: closed loops, each act with a `request_id` that is repeated, to whichever replica, until the answer is definite.
use std::{collections::BTreeMap, sync::Arc, time::Duration};

use parta_integration_tests::{Chance, Client};
use parta_proto::parta::chat::v1::{self as pb, message_service_client::MessageServiceClient};
use parta_status::RpcError;
use tonic::{Code, Status};

use crate::consistency::round::Round;

/// Longest that an act may remain without a definite answer.
const PATIENCE: Duration = Duration::from_secs(90);

/// What became of an act.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It is in the log.
    Stored { seq: i64, entry_id: String },
    /// It is not.
    Refused,
    /// The last attempt was refused, but one before it had no answer: it may have been stored after the refusal, when the
    /// sender was in again. At most once all the same.
    Unknown,
}

/// A message that somebody wrote.
#[derive(Debug, Clone)]
pub(crate) struct Act {
    pub(crate) chat: usize,
    pub(crate) sender: String,
    pub(crate) text: String,
    pub(crate) fate: Fate,
}

/// What one attempt says.
pub(crate) enum Answer<T> {
    Done(T),
    /// For a documented reason that repeating does not change.
    Refused(String),
    /// Nobody knows.
    Lost,
}

/// What a call's outcome means. A fault of the service's own is none of these.
pub(crate) fn answer<T>(outcome: Result<T, Status>) -> Answer<T> {
    let status = match outcome {
        Ok(done) => return Answer::Done(done),
        Err(status) => status,
    };
    let Some(refusal) = RpcError::from_status(&status) else {
        // Of the transport: the connection broke under the call.
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

/// The pause of a client whose call was lost. Nothing waits for it to be long enough.
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

/// The acts of one writer.
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
            // Whatever has happened to the sender since.
            let again = self.until_definite(message).await;
            if again != fate {
                let text = &message.text;
                self.round
                    .found(format!("{text} was answered {fate:?}, and repeated {again:?}"));
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

    /// As a client does that lost its patience: the same act by two replicas at the same time.
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
            // It came in between the two.
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

/// A last message of the witness in every chat, one after the other by one replica, in the chat of everybody at the end: who
/// has read that one would have got the others before it, allowed or not.
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
