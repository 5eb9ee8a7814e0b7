//! Writers: each sends one message after the other and retries it with the same `request_id`, at random
//! replicas, until the outcome is definite.
use std::{collections::BTreeMap, sync::Arc, time::Duration};

use parta_integration_tests::{Client, SeededRng};
use parta_proto_chat::v1::{self as pb, message_service_client::MessageServiceClient};
use parta_status::RpcError;
use tonic::{Code, Status};

use crate::consistency::round::Round;

/// Time limit for a definite outcome of a message.
const TIMEOUT: Duration = Duration::from_secs(90);

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The message was stored in the log.
    Stored { seq: i64, entry_id: String },
    /// The message was refused and not stored.
    Refused,
    /// The last attempt was refused, but an earlier attempt had no response. It may have been stored after
    /// the refusal, if the sender joined again. The log has the message at most once.
    Unknown,
}

/// A message of one writer, with its outcome.
#[derive(Debug, Clone)]
pub(crate) struct SentMessage {
    pub(crate) chat: usize,
    pub(crate) sender: String,
    pub(crate) text: String,
    pub(crate) outcome: Outcome,
}

pub(crate) enum AttemptResult<T> {
    Done(T),
    /// Refused with a documented reason that a retry does not change.
    Refused(String),
    /// There was no response, so the outcome is unknown.
    NoResponse,
}

/// Classifies the outcome of a call. Panics at an unexpected code.
pub(crate) fn classify<T>(outcome: Result<T, Status>) -> AttemptResult<T> {
    let status = match outcome {
        Ok(done) => return AttemptResult::Done(done),
        Err(status) => status,
    };
    let Some(refusal) = RpcError::from_status(&status) else {
        // The connection failed during the call.
        return AttemptResult::NoResponse;
    };
    match refusal.code() {
        Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled | Code::Aborted => {
            AttemptResult::NoResponse
        }
        Code::NotFound | Code::PermissionDenied | Code::FailedPrecondition => {
            AttemptResult::Refused(refusal.reason().to_owned())
        }
        code => panic!("{code:?} {}: {}", refusal.reason(), status.message()),
    }
}

/// Waits for a short random time before a retry. The tests do not depend on its length.
pub(crate) async fn pause(seeded_rng: &mut SeededRng) {
    tokio::time::sleep(Duration::from_millis(5 + seeded_rng.below(40) as u64)).await;
}

struct Writer {
    round: Arc<Round>,
    client: Client,
    seeded_rng: SeededRng,
}

struct Message {
    chat: usize,
    request_id: String,
    text: String,
}

pub(crate) async fn send_messages(round: Arc<Round>, number: usize) -> Vec<SentMessage> {
    let person = &round.workload.people[number % round.workload.people.len()];
    let mut writer = Writer {
        client: person.client.on_its_own(),
        seeded_rng: round.seeded_rng("writer", number),
        round: round.clone(),
    };
    let may_participate = |chat: &usize| {
        let index = number % round.workload.people.len();
        round.workload.chats[*chat].people.contains(&index)
    };
    let chats: Vec<usize> = (0..round.workload.chats.len()).filter(may_participate).collect();
    let mut messages = Vec::new();
    for n in 0..round.size.messages {
        let message = Message {
            chat: *writer.seeded_rng.choose(&chats),
            request_id: writer.seeded_rng.uuid(),
            text: format!("{}/{number}/{n}", round.name),
        };
        let completed = tokio::time::timeout(TIMEOUT, writer.send(&message)).await;
        let outcome =
            completed.unwrap_or_else(|_| panic!("{} has no outcome within the time limit", message.text));
        messages.push(SentMessage {
            chat: message.chat,
            sender: person.member_id.clone(),
            text: message.text,
            outcome,
        });
        round.record_completion();
    }
    messages
}

impl Writer {
    /// Sends a message until its outcome is definite. Some messages are sent twice, at once or afterwards.
    async fn send(&mut self, message: &Message) -> Outcome {
        let stats = self.round.stats.clone();
        let outcome = if self.seeded_rng.one_in(8) {
            stats.repetitions.add();
            self.send_concurrently(message).await
        } else {
            self.retry_until_definite(message).await
        };
        match &outcome {
            Outcome::Stored { seq, .. } => {
                self.round.record_acknowledgement(message.chat, *seq);
                stats.acknowledged.add();
            }
            Outcome::Refused | Outcome::Unknown => stats.refused.add(),
        }
        if matches!(outcome, Outcome::Stored { .. }) && self.seeded_rng.one_in(6) {
            stats.repetitions.add();
            // The outcome must not change, even if the sender has left or joined since.
            let repeated = self.retry_until_definite(message).await;
            if repeated != outcome {
                let text = &message.text;
                self.round.report(format!(
                    "the outcome of {text} was {outcome:?}, but that of its repetition is {repeated:?}"
                ));
            }
        }
        outcome
    }

    async fn retry_until_definite(&mut self, message: &Message) -> Outcome {
        let mut has_unknown_attempt = false;
        loop {
            let replica = self.replica();
            match self.attempt(message, replica).await {
                AttemptResult::Done(stored) => return stored,
                AttemptResult::Refused(_) if has_unknown_attempt => return Outcome::Unknown,
                AttemptResult::Refused(_) => return Outcome::Refused,
                AttemptResult::NoResponse => {
                    has_unknown_attempt = true;
                    self.round.stats.retries.add();
                    pause(&mut self.seeded_rng).await;
                }
            }
        }
    }

    /// Sends the same message to two replicas at the same time, like a client that retries too early.
    async fn send_concurrently(&mut self, message: &Message) -> Outcome {
        let (one, other) = (self.replica(), self.replica());
        let both = tokio::join!(self.attempt(message, one), self.attempt(message, other));
        match both {
            (AttemptResult::Done(one), AttemptResult::Done(other)) => {
                if one != other {
                    let text = &message.text;
                    self.round.report(format!(
                        "{text} was sent twice at the same time: {one:?} and {other:?}"
                    ));
                }
                one
            }
            // The sender joined between the two attempts.
            (AttemptResult::Done(stored), _) | (_, AttemptResult::Done(stored)) => stored,
            (AttemptResult::Refused(_), AttemptResult::Refused(_)) => Outcome::Refused,
            _ => match self.retry_until_definite(message).await {
                Outcome::Refused => Outcome::Unknown,
                other => other,
            },
        }
    }

    fn replica(&mut self) -> &'static str {
        self.round.replica(&mut self.seeded_rng)
    }

    async fn attempt(&self, message: &Message, replica: &str) -> AttemptResult<Outcome> {
        let request = self.client.request(pb::SendMessageRequest {
            request_id: message.request_id.clone(),
            org_id: self.client.org_id().unwrap().to_owned(),
            chat_id: self.round.workload.chats[message.chat].id.clone(),
            text: message.text.clone(),
        });
        let mut api = MessageServiceClient::new(self.client.channel(replica));
        let stored = api.send_message(request).await;
        classify(stored.map(|stored| {
            let stored = stored.into_inner();
            Outcome::Stored {
                seq: stored.seq,
                entry_id: stored.entry_id,
            }
        }))
    }
}

/// Sends a final message of the permanent member in every chat, one after the other through one replica. The
/// chat of all members comes last: a reader that has received its final message has also received every
/// earlier entry that the server sent, even entries that it must not send.
pub(crate) async fn final_messages(round: &Arc<Round>) -> Vec<SentMessage> {
    let mut messages = BTreeMap::new();
    for (chat, plan) in round.workload.chats.iter().enumerate().rev() {
        let person = &round.workload.people[plan.permanent_member];
        let mut writer = Writer {
            client: person.client.on_its_own(),
            seeded_rng: round.seeded_rng("final messages", chat),
            round: round.clone(),
        };
        let message = Message {
            chat,
            request_id: writer.seeded_rng.uuid(),
            text: format!("{}/конец/{chat}", round.name),
        };
        let outcome = match writer.attempt(&message, round.replicas[0]).await {
            AttemptResult::Done(stored) => stored,
            AttemptResult::Refused(reason) => panic!("the permanent member may not write: {reason}"),
            AttemptResult::NoResponse => writer.retry_until_definite(&message).await,
        };
        let sent = SentMessage {
            chat,
            sender: person.member_id.clone(),
            text: message.text,
            outcome,
        };
        messages.insert(chat, sent);
    }
    messages.into_values().collect()
}
