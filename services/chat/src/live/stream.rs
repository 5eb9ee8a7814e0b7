//! One subscription: replays what was missed, then goes on live, without a gap or a repeat.
use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use parta_access::OrgScope;
use parta_ids::{ChatId, MemberId};
use parta_proto::parta::chat::v1::{self as pb, subscribe_chats_response::Item};
use parta_roster::{Roster, State};
use parta_status::{RpcError, permission_denied};
use parta_storage::Db;
use tokio::{
    sync::watch,
    time::{Instant, Interval, MissedTickBehavior, interval_at},
};

use super::{
    Live, LiveEntry, LiveKind,
    queue::{QueueReceiver, queue},
    wire::response,
};
use crate::{
    entries::{self, ChatMembership, Content},
    error::Error,
    messages::entry_to_proto,
};

/// With what every subscription works.
pub(crate) struct Settings {
    pub(crate) db: Db,
    pub(crate) live: Live,
    pub(crate) roster: Roster,
    pub(crate) heartbeat: Duration,
}

/// A stream over all chats of one member.
pub(crate) struct Subscription {
    settings: Arc<Settings>,
    scope: OrgScope,
    member: MemberId,
    id: u64,
    inlet: QueueReceiver,
    missed: watch::Receiver<u64>,
    beat: Interval,
    /// Per chat the last place delivered. A chat that is not here never was the member's.
    cursors: HashMap<ChatId, i64>,
    /// Chats that were left: nothing of them comes but what follows a joining after the cursor. The cursor stays, or an old
    /// joining that waits in the queue would be delivered again, and a time in the chat of which the bus lost the joining
    /// would be passed over.
    out: BTreeSet<ChatId>,
    /// Chats of which there is more than was delivered, and where that is looked for.
    behind: BTreeMap<ChatId, Missing>,
    /// Live entries that were taken from the queue. Each by itself: what one shows to be missing is looked for before the next.
    incoming: VecDeque<Arc<LiveEntry>>,
    /// Encoded responses that wait to be taken.
    ready: VecDeque<Bytes>,
}

/// Where the entries are that a stream has not delivered yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Missing {
    /// The member was in at the cursor, so that the log itself says what may be seen: up to the own leaving. What went by
    /// last may do if it reaches this place.
    FromHere(i64),
    /// Only the database can tell what of it may be seen.
    Stored,
}

/// Entries read from the database at a time.
const PAGE: u64 = 200;

impl Drop for Subscription {
    fn drop(&mut self) {
        self.settings.live.routes().close(self.id);
    }
}

/// Opens a subscription that goes on after `cursors`.
pub(crate) async fn subscribe(
    settings: Arc<Settings>,
    scope: OrgScope,
    member: MemberId,
    cursors: HashMap<ChatId, i64>,
) -> Result<Subscription, Error> {
    let (outlet, inlet) = queue(settings.live.0.queue);
    let missed = settings.live.0.missed.subscribe();
    let id = settings.live.routes().open(scope.org_id(), member, outlet);
    let mut beat = interval_at(Instant::now() + settings.heartbeat, settings.heartbeat);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut subscription = Subscription {
        settings,
        scope,
        member,
        id,
        inlet,
        missed,
        beat,
        cursors,
        out: BTreeSet::new(),
        behind: BTreeMap::new(),
        incoming: VecDeque::new(),
        ready: VecDeque::new(),
    };
    let started = subscription.compare(true).await?;
    subscription
        .ready
        .push_back(response(Item::Started(pb::SubscriptionStarted {
            cursors: started,
        })));
    Ok(subscription)
}

impl Subscription {
    /// The next response, encoded; an error ends the stream.
    pub(crate) async fn next(&mut self) -> Result<Bytes, Error> {
        loop {
            if let Some(ready) = self.ready.pop_front() {
                return Ok(ready);
            }
            if let Some((chat, missing)) = self.behind.pop_first() {
                let done = match missing {
                    Missing::FromHere(upto) => self.replay_recent(chat, upto),
                    Missing::Stored => false,
                };
                if !done {
                    // Boxed, as all that is rare: a stream that idles is not to be as large as its longest query.
                    Box::pin(self.replay(chat)).await?;
                }
                continue;
            }
            if let Some(entry) = self.incoming.pop_front() {
                self.take(&entry);
                continue;
            }
            tokio::select! {
                // In this order: a chat that never pauses must not put off the look at who is listening.
                biased;
                _ = self.beat.tick() => {
                    Box::pin(self.still_a_member()).await?;
                    return Ok(response(Item::Heartbeat(pb::Heartbeat {})));
                }
                changed = self.missed.changed() => {
                    if changed.is_ok() {
                        Box::pin(self.compare(false)).await?;
                    }
                }
                entries = self.inlet.dequeue() => match entries {
                    Some(entries) => self.incoming = entries,
                    // The router let go of the queue when it was full.
                    None => return Err(Error::SlowReader),
                },
            }
        }
    }

    /// A live entry: the next one of its chat is delivered, an old one dropped, a later one shows a gap.
    fn take(&mut self, live: &LiveEntry) {
        let (chat, joins) = (live.chat_id, live.kind == LiveKind::Joining(self.member));
        let known = self.cursors.get(&chat).copied();
        let Some(cursor) = known.or_else(|| joins.then(|| live.seq - 1)) else {
            return;
        };
        if self.out.contains(&chat) {
            if joins && live.seq > cursor {
                // This may have been handed on before the leaving was taken from the queue, and with that the stream
                // ceased to hear of the chat.
                self.settings.live.routes().attach(self.id, chat);
                self.behind.insert(chat, Missing::Stored);
            }
        } else if live.seq == cursor + 1 {
            self.deliver(chat, live.seq, live.response.bytes());
            if live.kind == LiveKind::Leaving(self.member) {
                self.leave(chat);
            }
        } else if live.seq > cursor {
            self.behind.entry(chat).or_insert(Missing::FromHere(live.seq));
        }
    }

    fn deliver(&mut self, chat: ChatId, seq: i64, response: Bytes) {
        self.cursors.insert(chat, seq);
        self.out.remove(&chat);
        self.ready.push_back(response);
    }

    fn leave(&mut self, chat: ChatId) {
        self.out.insert(chat);
        self.settings.live.routes().detach(self.id, chat);
    }

    /// Compares every chat of the member with what was delivered. What is committed between the look at the database and
    /// the listening went by, so what went by is looked at last.
    async fn compare(&mut self, first: bool) -> Result<Vec<pb::ChatCursor>, Error> {
        let known: Vec<_> = self.cursors.keys().copied().collect();
        let conn = self.settings.db.conn();
        let passed = self.settings.live.routes().recent.passed();
        let memberships = entries::list_memberships(conn, &self.scope, self.member, &known).await?;
        let mut started = Vec::new();
        let mut mine = BTreeSet::new();
        let live = self.settings.live.clone();
        let mut routes = live.routes();
        for membership in &memberships {
            let chat = membership.chat_id();
            let (head, left) = (membership.chat.head_seq, membership.participant.left_seq);
            mine.insert(chat);
            let begin = if first {
                head
            } else {
                membership.participant.joined_seq - 1
            };
            let cursor = self.cursors.get(&chat).copied().unwrap_or(begin).min(head);
            self.cursors.insert(chat, cursor);
            if left.is_none() {
                routes.attach(self.id, chat);
            }
            let at = (self.scope.org_id(), chat);
            if cursor < left.unwrap_or(head) {
                let inside = left.is_none() && cursor >= membership.participant.joined_seq - 1;
                let missing = if inside {
                    Missing::FromHere(head)
                } else {
                    Missing::Stored
                };
                self.behind.insert(chat, missing);
            } else if left.is_some() {
                self.out.insert(chat);
                routes.detach(self.id, chat);
                continue;
            } else if routes.recent.after_look(at, head, passed) {
                self.behind.insert(chat, Missing::FromHere(head));
            }
            started.push(pb::ChatCursor {
                chat_id: chat.to_string(),
                seq: cursor,
            });
        }
        // Places in chats that never were the member's mean nothing.
        self.cursors.retain(|chat, _| mine.contains(chat));
        self.out.retain(|chat| mine.contains(chat));
        Ok(started)
    }

    /// Delivers what went by of a chat after the cursor, at which the member was in; false where that is not kept any more
    /// or does not reach `upto`.
    fn replay_recent(&mut self, chat: ChatId, upto: i64) -> bool {
        let Some(cursor) = self.cursors.get(&chat).copied() else {
            return false;
        };
        if self.out.contains(&chat) {
            return false;
        }
        let at = (self.scope.org_id(), chat);
        let Some(entries) = self.settings.live.routes().recent.after(at, cursor) else {
            return false;
        };
        for entry in entries {
            self.deliver(chat, entry.seq, entry.response.bytes());
            if entry.kind == LiveKind::Leaving(self.member) {
                self.leave(chat);
                return true;
            }
        }
        self.cursors.get(&chat).is_some_and(|cursor| *cursor >= upto)
    }

    /// Reads the next page of a chat from the database, up to where the member may read.
    async fn replay(&mut self, chat: ChatId) -> Result<(), Error> {
        let Some(cursor) = self.cursors.get(&chat).copied() else {
            // The entry of joining was not the one after the cursor: there is none yet.
            return self.begin(chat).await;
        };
        let (scope, member) = (&self.scope, self.member);
        let page = self.settings.db.read(|tx| async move {
            let Some(membership) = entries::find_membership(&tx, scope, chat, member).await? else {
                return Ok(None);
            };
            let (mut from, upto) = readable(&membership, cursor)?;
            let mut end = upto;
            let joined = membership.participant.joined_seq;
            if from < joined - 1 {
                // Who was out meanwhile gets what was written up to the leaving, and goes on with the joining: with each in
                // turn, of those who came and went more than once.
                let head = &membership.chat;
                let mut moved = entries::find_own_move(&tx, scope, head, member, (from, joined)).await?;
                if let Some(row) = moved.take_if(|row| row.content == Content::Joining(member)) {
                    from = row.seq - 1;
                    moved = entries::find_own_move(&tx, scope, head, member, (row.seq, joined)).await?;
                }
                if let Some(row) = moved {
                    end = row.seq;
                }
            }
            let entries =
                entries::list_entries(&tx, scope, &membership.chat, (from, end), false, PAGE).await?;
            Ok::<_, Error>(Some((membership, (end, upto), entries)))
        });
        let Some((membership, (end, upto), entries)) = page.await? else {
            self.leave(chat);
            return Ok(());
        };
        let last = entries.last().map_or(end, |entry| entry.seq);
        for entry in entries {
            self.deliver(chat, entry.seq, response(Item::Entry(entry_to_proto(entry))));
        }
        if last < upto {
            self.behind.insert(chat, Missing::Stored);
        } else if membership.participant.left_seq.is_some() {
            self.leave(chat);
        }
        Ok(())
    }

    async fn begin(&mut self, chat: ChatId) -> Result<(), Error> {
        let conn = self.settings.db.conn();
        let found = entries::find_membership(conn, &self.scope, chat, self.member).await?;
        if let Some(membership) = found.filter(|s| s.participant.left_seq.is_none()) {
            self.cursors.insert(chat, membership.participant.joined_seq - 1);
            self.behind.insert(chat, Missing::Stored);
        }
        Ok(())
    }

    /// Ends the stream of who is no active member any more; what is merely unknown at the moment ends nothing.
    async fn still_a_member(&self) -> Result<(), Error> {
        let roster = &self.settings.roster;
        match roster
            .state(self.settings.db.conn(), self.scope.org_id(), self.member)
            .await
        {
            Ok(Some(State::Active)) => Ok(()),
            Ok(_) => Err(permission_denied("You have left the organization.").into()),
            Err(refusal) if refusal.code() == parta_status::Code::Unavailable => Ok(()),
            Err(refusal) => Err(RpcError::into(refusal)),
        }
    }
}

/// The places after the first and up to the second may be read. Of a derived chat that was left it is the entry of
/// leaving alone.
fn readable(membership: &ChatMembership, cursor: i64) -> Result<(i64, i64), Error> {
    Ok(
        match (membership.readable_upto()?, membership.participant.left_seq) {
            (Some(upto), _) => (cursor, upto),
            (None, Some(left)) => (cursor.max(left - 1), left),
            (None, None) => (cursor, cursor),
        },
    )
}
