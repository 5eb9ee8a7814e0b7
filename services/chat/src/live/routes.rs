use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use parta_ids::{ChatId, MemberId, OrgId};

use super::{LiveEntry, LiveKind, Outlet, recent::Recent};

/// So many bytes of the last entries are kept for streams that come back.
const RECENT: usize = 8 * 1024 * 1024;

/// Which stream hears of which chat.
pub(super) struct Routes {
    /// What went by last.
    pub(super) recent: Recent,
    last_id: u64,
    streams: HashMap<u64, Route>,
    chats: HashMap<(OrgId, ChatId), BTreeSet<u64>>,
    members: HashMap<(OrgId, MemberId), BTreeSet<u64>>,
}

struct Route {
    org_id: OrgId,
    member_id: MemberId,
    outlet: Outlet,
    chats: BTreeSet<ChatId>,
}

impl Default for Routes {
    fn default() -> Self {
        Self {
            recent: Recent::new(RECENT),
            last_id: 0,
            streams: HashMap::new(),
            chats: HashMap::new(),
            members: HashMap::new(),
        }
    }
}

impl Routes {
    /// Opens a stream: from here on it hears of the chats that its member comes into.
    pub(super) fn open(&mut self, org_id: OrgId, member_id: MemberId, outlet: Outlet) -> u64 {
        self.last_id += 1;
        let id = self.last_id;
        self.members.entry((org_id, member_id)).or_default().insert(id);
        self.streams.insert(
            id,
            Route {
                org_id,
                member_id,
                outlet,
                chats: BTreeSet::new(),
            },
        );
        id
    }

    /// Ends a stream; dropping its outlet tells it.
    pub(super) fn close(&mut self, id: u64) {
        let Some(route) = self.streams.remove(&id) else {
            return;
        };
        forget(&mut self.members, &(route.org_id, route.member_id), id);
        for chat in route.chats {
            forget(&mut self.chats, &(route.org_id, chat), id);
        }
    }

    /// Lets a stream hear of a chat.
    pub(super) fn attach(&mut self, id: u64, chat: ChatId) {
        if let Some(route) = self.streams.get_mut(&id) {
            route.chats.insert(chat);
            self.chats.entry((route.org_id, chat)).or_default().insert(id);
        }
    }

    /// Lets a stream hear no more of a chat.
    pub(super) fn detach(&mut self, id: u64, chat: ChatId) {
        if let Some(route) = self.streams.get_mut(&id) {
            route.chats.remove(&chat);
            forget(&mut self.chats, &(route.org_id, chat), id);
        }
    }

    /// Hands an entry to the streams of its chat. A stream whose queue is full is closed: it is cut off, not waited for.
    pub(super) fn deliver(&mut self, entry: &Arc<LiveEntry>) {
        self.recent.push(entry);
        let at = (entry.org_id, entry.chat_id);
        if let LiveKind::Joining(member) = entry.kind {
            for id in self
                .members
                .get(&(entry.org_id, member))
                .cloned()
                .unwrap_or_default()
            {
                self.attach(id, entry.chat_id);
            }
        }
        let Some(ids) = self.chats.get(&at) else { return };
        let full: Vec<u64> = ids
            .iter()
            .filter(|id| {
                self.streams
                    .get(id)
                    .is_some_and(|route| route.outlet.try_send(entry.clone()).is_err())
            })
            .copied()
            .collect();
        for id in full {
            self.close(id);
        }
    }
}

fn forget<K: std::hash::Hash + Eq>(map: &mut HashMap<K, BTreeSet<u64>>, key: &K, id: u64) {
    if let Some(ids) = map.get_mut(key) {
        ids.remove(&id);
        if ids.is_empty() {
            map.remove(key);
        }
    }
}
