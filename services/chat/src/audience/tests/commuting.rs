//! The participants of chats depend on the two feeds only, and not on the order in which they arrive.
use std::sync::Arc;

use parta_access::OrgScope;
use parta_database::{StorageError, Tx};
use parta_feed::Freshness;
use parta_ids::OrgId;
use parta_roster::{MemberContext, Roster};
use parta_service_testkit::{
    ServiceEnv,
    history::{FeedsCommute, Part},
};
use parta_testkit::{TestDatabase, on_both};

use crate::{
    audience::AudienceUpdater,
    entries::{
        Beginning, ChatKind, Entry, EntrySink, ParticipantDiff, ParticipantRights, apply_diff, create_chat,
        direct_chat_key,
    },
    talk_policy::may_talk,
};

/// Publishes nothing.
struct NoSubscribers;

impl EntrySink for NoSubscribers {
    fn publish(&self, _: Vec<Entry>) {}

    fn publish_after_commit(&self, _: &Tx, _: Vec<Entry>) {}

    fn compare_organization(&self, _: OrgId) {}
}

/// The places in a log follow the order in which members joined.
const PLACES: [&str; 5] = [
    "joined_seq",
    "left_seq",
    "read_seq",
    "visible_after",
    "returned_after",
];

const CHECK: FeedsCommute = FeedsCommute {
    histories: 6,
    // The joinings and leavings on the way differ, and their numbers.
    skipped: &["entry*"],
    parts: &[
        Part {
            table: "chat",
            only: "TRUE",
            without: &["head_seq", "audience_version"],
        },
        Part {
            table: "participant",
            only: "left_seq IS NULL AND chat_id IN (SELECT chat_id FROM chat WHERE unit_id IS NOT NULL)",
            without: &PLACES,
        },
        // In the chats of the organization a pupil keeps the beginning with which he came (ADR 0064), and the
        // one who comes while org-registry is late finds an empty chat.
        Part {
            table: "participant",
            only: "left_seq IS NULL AND chat_id IN (SELECT chat_id FROM chat WHERE unit_id IS NULL)",
            without: &[
                PLACES[0],
                PLACES[1],
                PLACES[2],
                PLACES[3],
                PLACES[4],
                "family_since",
            ],
        },
    ],
    names: Some(["chat", "chat_id", "COALESCE(unique_key, label)"]),
    filled: &["chat", "participant", "roster_unit", "roster_member"],
};

async fn open(database: &TestDatabase) -> ServiceEnv {
    let env = ServiceEnv::open(database, "chat", crate::migrations()).await;
    let updater = AudienceUpdater::new(Arc::new(NoSubscribers));
    let fresh = Freshness::always;
    updater.set_roster(Roster::new(fresh("org-registry"), fresh("membership")));
    env.observed_by(Arc::new(updater))
}

/// Makes a personal chat of each two active members.
async fn make_personal_chats(tx: &Tx, roster: &Roster, org: OrgId) -> Result<(), StorageError> {
    let scope = &OrgScope::for_consumer("test", org);
    let people = roster.all_members(tx, org).await.unwrap();
    let active: Vec<&MemberContext> = people.iter().filter(|facts| facts.is_active()).collect();
    for (index, one) in active.iter().enumerate() {
        for other in active.iter().skip(index + 1) {
            let key = direct_chat_key(one.member_id, other.member_id);
            let kind = ChatKind::Direct;
            let chat = create_chat(tx, scope, kind, None, Some(key.clone()), &key).await?;
            let may_post = may_talk(one, other);
            let joining = |facts: &MemberContext| {
                let rights = ParticipantRights::new(facts, may_post).since(Beginning::WHOLE);
                (facts.member_id, rights)
            };
            let diff = ParticipantDiff {
                joins: [joining(one), joining(other)].into(),
                ..ParticipantDiff::default()
            };
            apply_diff(tx, &NoSubscribers, scope, (chat, kind), &diff).await?;
        }
    }
    Ok(())
}

async fn prepare(env: &ServiceEnv, org: OrgId) {
    let roster = &env.roster();
    let made = env
        .db
        .write(|tx| async move { make_personal_chats(&tx, roster, org).await });
    made.await.unwrap();
}

// Chats with named participants are left out: who loses a ground leaves them for good (F19), so that the
// order of a loss and a gain decides, in whichever feeds they are.
on_both!(
    order_of_the_feeds_decides_nothing_in_chats,
    |database| async move {
        CHECK.check(&database, open, prepare).await;
    }
);
