//! One subscription: replays missed entries, then delivers live ones, without a gap or a repetition.
use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    sync::Arc,
};

use bytes::Bytes;
use parta_access::OrgScope;
use parta_ids::{ChatId, EntryId, MemberId, optional_text};
use parta_proto_chat::v1::{self as pb, subscribe_chats_response::Item};
use parta_roster::{MemberContext, State};
use parta_status::{RpcError, permission_denied};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

use super::{
    LiveEntry, LiveKind, Settings,
    position::{Cursor, StoredPosition, readable_range},
    queue::{QueueReceiver, queue},
    scope::Scope,
    wire::response,
};
use crate::{
    entries::{self, ChatMembership, Content},
    error::Error,
    messages::entry_to_proto,
};

/// A stream over all chats of one member.
pub(crate) struct Subscription {
    settings: Arc<Settings>,
    scope: OrgScope,
    member: MemberId,
    id: u64,
    receiver: QueueReceiver,
    heartbeat_timer: Interval,
    /// For each chat the last sequence number delivered. Chats in which the member never participated have
    /// none.
    cursors: HashMap<ChatId, i64>,
    /// Chats that the member has left. Entries are dropped until a joining of the member after the cursor.
    /// The cursor stays: without it an old joining in the queue would be delivered again, and a participation
    /// whose joining the bus lost would be skipped.
    left_chats: BTreeSet<ChatId>,
    /// Whether the member left a chat since the last check of the membership. A member who leaves the
    /// organization leaves its chats, and the stream ends without waiting for the next heartbeat.
    unchecked: bool,
    /// Whether the chats of the member are other ones than those of the stream.
    other_chats: bool,
    /// Chats whose log is not the one that was delivered, because the database was restored.
    restored: BTreeSet<ChatId>,
    /// Chats with undelivered entries, and where to find those.
    behind: BTreeMap<ChatId, Missing>,
    /// Live entries from the queue. They are processed one by one: a gap that one shows is filled before the
    /// next.
    incoming: VecDeque<Arc<LiveEntry>>,
    /// Encoded responses that wait to be sent.
    ready: VecDeque<Bytes>,
}

/// The source of the entries that a stream has not delivered yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Missing {
    /// The member participated at the cursor and may read up to their own leaving, which the entries
    /// show. The recent-entry cache suffices if it reaches this sequence number.
    InCache(i64),
    /// Only the database shows which entries the member may read.
    InDatabase,
}

/// Entries read from the database at a time.
const REPLAY_PAGE_ENTRIES: u64 = 200;

impl Drop for Subscription {
    fn drop(&mut self) {
        self.settings.live.registry().close(self.id);
    }
}

/// Opens a subscription that resumes after `cursors`.
pub(crate) async fn subscribe(
    settings: Arc<Settings>,
    scope: OrgScope,
    member: MemberId,
    cursors: HashMap<ChatId, Cursor>,
) -> Result<Subscription, Error> {
    let (sender, receiver) = queue(settings.live.0.queue_capacity);
    let id = settings.live.registry().open(scope.org_id(), member, sender);
    let mut heartbeat_timer = interval_at(Instant::now() + settings.heartbeat, settings.heartbeat);
    heartbeat_timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut subscription = Subscription {
        settings,
        scope,
        member,
        id,
        receiver,
        heartbeat_timer,
        cursors: cursors.iter().map(|(chat, cursor)| (*chat, cursor.seq)).collect(),
        left_chats: BTreeSet::new(),
        unchecked: false,
        other_chats: false,
        restored: BTreeSet::new(),
        behind: BTreeMap::new(),
        incoming: VecDeque::new(),
        ready: VecDeque::new(),
    };
    subscription.start(&cursors).await?;
    Ok(subscription)
}

impl Subscription {
    /// The next response, encoded; an error ends the stream.
    pub(crate) async fn next(&mut self) -> Result<Bytes, Error> {
        loop {
            if let Some(ready) = self.ready.pop_front() {
                return Ok(ready);
            }
            if let Some(chat) = self.restored.pop_first() {
                Box::pin(self.begin_again(chat)).await?;
                continue;
            }
            if let Some((chat, missing)) = self.behind.pop_first() {
                let done = match missing {
                    Missing::InCache(upto) => self.replay_recent(chat, upto),
                    Missing::InDatabase => false,
                };
                if !done {
                    // Boxed so that the future of an idle stream does not reserve space for the query
                    // futures.
                    Box::pin(self.replay(chat)).await?;
                }
                continue;
            }
            if let Some(entry) = self.incoming.pop_front() {
                self.accept(&entry);
                continue;
            }
            if std::mem::take(&mut self.other_chats) {
                Box::pin(self.compare_heads(false)).await?;
                continue;
            }
            // After all entries that are present: the leavings of several chats arrive together.
            if std::mem::take(&mut self.unchecked) {
                Box::pin(self.check_active()).await?;
                continue;
            }
            tokio::select! {
                // In this order, so that a busy chat does not delay the check of the membership.
                biased;
                _ = self.heartbeat_timer.tick() => {
                    // Runs no query. A projection that is too old may lack the end of a right.
                    self.settings.roster.require(self.scope.org_id())?;
                    // A participant of a chat is active: the change of the roster that ends the membership
                    // also ends the participation, which the stream gets as an entry.
                    if self.cursors.len() == self.left_chats.len() {
                        Box::pin(self.check_active()).await?;
                    }
                    return Ok(response(Item::Heartbeat(pb::Heartbeat {})));
                }
                entries = self.receiver.dequeue() => match entries {
                    Some(entries) => self.incoming = entries,
                    // The registry closed the queue because it was full.
                    None => return Err(Error::slow_reader()),
                },
            }
        }
    }

    /// Delivers a live entry if it is the next one of its chat, drops an old one, and notes a gap before a
    /// later one.
    fn accept(&mut self, live: &LiveEntry) {
        match live.kind {
            LiveKind::Chats => self.other_chats = true,
            LiveKind::Restored => {
                if self.cursors.contains_key(&live.chat_id) && !self.left_chats.contains(&live.chat_id) {
                    self.restored.insert(live.chat_id);
                }
            }
            LiveKind::Head | LiveKind::Message | LiveKind::Joining(_) | LiveKind::Leaving(_) => {
                self.accept_entry(live);
            }
        }
    }

    fn accept_entry(&mut self, live: &LiveEntry) {
        let (chat, joins) = (live.chat_id, live.kind == LiveKind::Joining(self.member));
        if joins {
            self.cursors.entry(chat).or_insert(live.seq - 1);
        }
        let Some(cursor) = self.cursors.get(&chat).copied() else {
            return;
        };
        if self.left_chats.contains(&chat) {
            if joins && live.seq > cursor {
                // This entry may have been enqueued before the stream processed the leaving, which
                // unsubscribed it from the chat.
                self.settings.live.registry().attach(self.id, chat, live.seq);
                self.behind.insert(chat, Missing::InDatabase);
            }
        } else if live.seq == cursor + 1 && live.kind != LiveKind::Head {
            if live.is_complete_for(self.member) {
                self.deliver(chat, live.seq, live.response.bytes());
            } else {
                self.behind.insert(chat, Missing::InDatabase);
            }
        } else if live.seq > cursor {
            self.behind.entry(chat).or_insert(Missing::InCache(live.seq));
        }
    }

    fn deliver(&mut self, chat: ChatId, seq: i64, response: Bytes) {
        self.cursors.insert(chat, seq);
        self.left_chats.remove(&chat);
        self.ready.push_back(response);
    }

    fn leave(&mut self, chat: ChatId) {
        self.left_chats.insert(chat);
        self.unchecked = true;
        self.settings.live.registry().detach(self.id, chat);
    }

    /// Finds the position in each chat and enqueues the first response. A chat in which the entry at the
    /// position of the client is another one, or does not exist, begins again at its last entry.
    async fn start(&mut self, wanted: &HashMap<ChatId, Cursor>) -> Result<(), Error> {
        let found = self.compare_heads(true).await?;
        let requested = |chat: &ChatId| wanted.get(chat).copied();
        let entries_wanted = found.iter().flat_map(|stored| {
            let requested = requested(&stored.chat).map_or(stored.seq, |cursor| cursor.seq);
            [(stored.chat, stored.seq), (stored.chat, requested)]
        });
        let entries_wanted: BTreeSet<_> = entries_wanted.filter(|(_, seq)| *seq > 0).collect();
        let entries_wanted: Vec<_> = entries_wanted.into_iter().collect();
        let conn = self.settings.db.conn();
        let mut ids = entries::find_entry_ids(conn, &self.scope, &entries_wanted).await?;
        let mut resets = BTreeMap::new();
        for stored in &found {
            let chat = stored.chat;
            let restored = requested(&chat).is_some_and(|cursor| {
                let other = cursor
                    .entry_id
                    .is_some_and(|id| ids.get(&(chat, cursor.seq)) != Some(&id));
                cursor.seq > stored.head || other
            });
            if restored {
                let seq = stored.left.unwrap_or(stored.head);
                resets.insert(chat, seq);
                self.cursors.insert(chat, seq);
                if stored.left.is_some() {
                    self.behind.remove(&chat);
                    self.left_chats.insert(chat);
                } else {
                    // An entry may have been published before the stream was attached.
                    self.behind.insert(chat, Missing::InDatabase);
                }
            }
        }
        if !resets.is_empty() {
            let entries_wanted: Vec<_> = resets.iter().map(|(chat, seq)| (*chat, *seq)).collect();
            ids.extend(entries::find_entry_ids(conn, &self.scope, &entries_wanted).await?);
        }
        let cursor = |chat: ChatId, seq: i64| cursor_to_proto(chat, seq, ids.get(&(chat, seq)).copied());
        let started = found.iter().filter_map(|stored| {
            let seq = resets.get(&stored.chat).copied().unwrap_or(stored.seq);
            (!self.left_chats.contains(&stored.chat)).then(|| cursor(stored.chat, seq))
        });
        let started = pb::SubscriptionStarted {
            cursors: started.collect(),
        };
        self.ready.push_back(response(Item::Started(started)));
        for (chat, seq) in resets {
            self.ready.push_back(reset(cursor(chat, seq)));
        }
        Ok(())
    }

    /// Compares every chat of the member with the cursors, and returns the positions. Checks the recent
    /// entries last: an entry that is committed after the query and published before the stream is attached
    /// is found there.
    async fn compare_heads(&mut self, first: bool) -> Result<Vec<StoredPosition>, Error> {
        let known: Vec<_> = self.cursors.keys().copied().collect();
        let conn = self.settings.db.conn();
        let pushed = {
            let mut registry = self.settings.live.registry();
            registry.checks_chats(self.id);
            registry.recent.pushed()
        };
        let memberships = entries::list_memberships(conn, &self.scope, self.member, &known).await?;
        let mut entries_wanted = Vec::new();
        let mut chats = BTreeSet::new();
        let live = self.settings.live.clone();
        let mut registry = live.registry();
        for membership in &memberships {
            let chat = membership.chat_id();
            let (head, left) = (membership.chat.head_seq, membership.participant.left_seq);
            chats.insert(chat);
            let begin = if first {
                head
            } else {
                membership.participant.joined_seq - 1
            };
            let before = self.cursors.get(&chat).copied();
            if !first && before.is_some_and(|before| before > head) && left.is_none() {
                self.restored.insert(chat);
            }
            let cursor = before.unwrap_or(begin).min(head);
            self.cursors.insert(chat, cursor);
            if left.is_none() {
                registry.attach(self.id, chat, head);
            }
            entries_wanted.push(StoredPosition {
                chat,
                seq: cursor,
                head,
                left,
            });
            let key = (self.scope.org_id(), chat);
            if registry.recent.is_ahead_of(key, head, pushed) {
                registry.recent.remove(key);
                live.request_comparison(Scope::Organizations([self.scope.org_id()].into()));
            }
            if cursor < left.unwrap_or(head) {
                let inside = left.is_none() && cursor >= membership.participant.joined_seq - 1;
                let missing = if inside {
                    Missing::InCache(head)
                } else {
                    Missing::InDatabase
                };
                self.behind.insert(chat, missing);
            } else if left.is_some() {
                self.unchecked |= self.left_chats.insert(chat) && !first;
                registry.detach(self.id, chat);
            } else if registry.recent.may_have_after(key, head, pushed) {
                self.behind.insert(chat, Missing::InCache(head));
            }
        }
        // Cursors of chats in which the member never participated are ignored.
        self.cursors.retain(|chat, _| chats.contains(chat));
        self.left_chats.retain(|chat| chats.contains(chat));
        Ok(entries_wanted)
    }

    /// Continues a restored chat with the entries after its present head.
    async fn begin_again(&mut self, chat: ChatId) -> Result<(), Error> {
        let conn = self.settings.db.conn();
        let found = entries::find_membership(conn, &self.scope, chat, self.member).await?;
        self.behind.remove(&chat);
        let (seq, is_in) = match found {
            Some(ChatMembership { chat, participant }) => {
                let left = participant.left_seq;
                (left.unwrap_or(chat.head_seq), left.is_none())
            }
            // In the restored database the member has never participated in the chat.
            None => (0, false),
        };
        self.cursors.insert(chat, seq);
        if !is_in {
            self.leave(chat);
        }
        self.enqueue_reset(chat, seq).await
    }

    async fn enqueue_reset(&mut self, chat: ChatId, seq: i64) -> Result<(), Error> {
        let conn = self.settings.db.conn();
        let ids = entries::find_entry_ids(conn, &self.scope, &[(chat, seq)]).await?;
        let cursor = cursor_to_proto(chat, seq, ids.get(&(chat, seq)).copied());
        self.ready.push_back(reset(cursor));
        Ok(())
    }

    /// Delivers the recent entries of a chat after the cursor, at which the member participated. Returns
    /// false if they are no longer present, do not reach `upto`, or have one of which the member may see
    /// more.
    fn replay_recent(&mut self, chat: ChatId, upto: i64) -> bool {
        let Some(cursor) = self.cursors.get(&chat).copied() else {
            return false;
        };
        if self.left_chats.contains(&chat) {
            return false;
        }
        let key = (self.scope.org_id(), chat);
        let Some(entries) = self.settings.live.registry().recent.after(key, cursor) else {
            return false;
        };
        for entry in entries {
            if !entry.is_complete_for(self.member) {
                return false;
            }
            self.deliver(chat, entry.seq, entry.response.bytes());
        }
        self.cursors.get(&chat).is_some_and(|cursor| *cursor >= upto)
    }

    /// Delivers the next page of a chat from the database, up to the last entry that the member may read.
    async fn replay(&mut self, chat: ChatId) -> Result<(), Error> {
        let Some(cursor) = self.cursors.get(&chat).copied() else {
            // The first live entry of the chat was not the joining, so there is no cursor yet.
            return self.begin_at_joining(chat).await;
        };
        let (scope, member, roster) = (&self.scope, self.member, &self.settings.roster);
        // Nobody closes the semaphore.
        let permit = self.settings.replays.acquire().await;
        let page = self.settings.db.read(|tx| async move {
            let Some(membership) = entries::find_membership(&tx, scope, chat, member).await? else {
                return Ok(None);
            };
            let (mut from, upto) = readable_range(&membership, cursor)?;
            let mut end = upto;
            let joined = membership.participant.joined_seq;
            if from < joined - 1 {
                // A member who left meanwhile gets the entries up to the leaving and continues with the next
                // joining. One participation per page, because a member may have left and joined several
                // times.
                let log = membership.log();
                let mut own_move = entries::find_own_move(&tx, scope, log, member, (from, joined)).await?;
                if let Some(row) = own_move.take_if(|row| matches!(row.content, Content::Joining(..))) {
                    from = row.seq - 1;
                    own_move = entries::find_own_move(&tx, scope, log, member, (row.seq, joined)).await?;
                }
                if let Some(row) = own_move {
                    end = row.seq;
                }
            }
            let entries = entries::list_entries(
                &tx,
                scope,
                membership.log(),
                (from, end),
                false,
                REPLAY_PAGE_ENTRIES,
            )
            .await?;
            let reader = entries::reader_of(&tx, roster, &membership, &entries).await?;
            Ok::<_, Error>(Some((membership, (end, upto), (entries, reader))))
        });
        let page = page.await;
        drop(permit);
        let Some((membership, (end, upto), (entries, reader))) = page? else {
            self.leave(chat);
            return Ok(());
        };
        let last = entries.last().map_or(end, |entry| entry.seq);
        for entry in entries {
            self.deliver(
                chat,
                entry.seq,
                response(Item::Entry(entry_to_proto(entry, Some(&reader)))),
            );
        }
        if last < upto {
            self.behind.insert(chat, Missing::InDatabase);
        } else if membership.participant.left_seq.is_some() {
            self.leave(chat);
        }
        Ok(())
    }

    async fn begin_at_joining(&mut self, chat: ChatId) -> Result<(), Error> {
        let conn = self.settings.db.conn();
        let found = entries::find_membership(conn, &self.scope, chat, self.member).await?;
        if let Some(membership) = found.filter(|s| s.participant.left_seq.is_none()) {
            self.cursors.insert(chat, membership.participant.joined_seq - 1);
            self.behind.insert(chat, Missing::InDatabase);
        }
        Ok(())
    }

    /// Ends the stream if the member is no longer active. A roster that is temporarily unavailable does not
    /// end it.
    async fn check_active(&self) -> Result<(), Error> {
        let roster = &self.settings.roster;
        match roster
            .state(self.settings.db.conn(), self.scope.org_id(), self.member)
            .await
        {
            Ok(Some(State::Active)) => Ok(()),
            Ok(Some(State::Suspended)) => Err(MemberContext::suspended_refusal().into()),
            Ok(_) => Err(permission_denied("You are no longer a member of the organization. Ask its administration for a new invitation.").into()),
            Err(refusal) if refusal.code() == parta_status::Code::Unavailable => Ok(()),
            Err(refusal) => Err(RpcError::into(refusal)),
        }
    }
}

fn reset(cursor: pb::ChatCursor) -> Bytes {
    let cursor = Some(cursor);
    response(Item::Reset(pb::ChatReset { cursor }))
}

fn cursor_to_proto(chat: ChatId, seq: i64, entry_id: Option<EntryId>) -> pb::ChatCursor {
    pb::ChatCursor {
        chat_id: chat.to_string(),
        seq,
        entry_id: optional_text(entry_id),
    }
}
