//! The right to write: the write path of each database decides as the pure function for all facts.
use std::sync::Arc;

use futures::future::join_all;
use parta_access::{OrgScope, Secrets};
use parta_database::{DatabaseConfig, Db, StorageError, Tx};
use parta_ids::{ChatId, Env, MemberId, OrgId, TypedId};
use parta_testkit::{TestDatabase, on_both};
use sea_orm::{ActiveModelTrait as _, ActiveValue::Set, EntityTrait as _, IntoActiveModel as _};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::super::{
    model::Message,
    policy::{Refused, SenderFacts, verdict},
    writer::{Outcome, Stored, writer},
};
use crate::entries::{ChatKind, Entry, EntrySink, chat, participant};

/// Publishes nothing.
pub(super) struct NoSubscribers;

impl EntrySink for NoSubscribers {
    fn publish(&self, _: Vec<Entry>) {}

    fn publish_after_commit(&self, _: &Tx, _: Vec<Entry>) {}

    fn compare_organization(&self, _: OrgId) {}
}

/// The organization whose chat the sender has a row in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RowOf {
    Nobody,
    AnotherOrganization,
    TheOrganization,
}

/// A chat and the one who sends to it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Case {
    chat: ChatId,
    sender: MemberId,
    pub(super) chat_exists: bool,
    pub(super) row: RowOf,
    /// The facts of the row and of the chat, if they exist.
    facts: SenderFacts,
}

impl Case {
    /// All combinations of facts.
    pub(super) fn all(env: &Env) -> Vec<Self> {
        let mut cases = Vec::new();
        for row in [RowOf::Nobody, RowOf::AnotherOrganization, RowOf::TheOrganization] {
            for bits in 0..8 {
                let facts = SenderFacts {
                    present: bits & 1 != 0,
                    may_post: bits & 2 != 0,
                    open: bits & 4 != 0,
                };
                // A row of the organization has a chat.
                for chat_exists in [true, false] {
                    if chat_exists || row != RowOf::TheOrganization {
                        cases.push(Self {
                            chat: env.id(),
                            sender: env.id(),
                            chat_exists,
                            row,
                            facts,
                        });
                    }
                }
            }
        }
        cases
    }

    fn verdict(&self) -> Result<(), Refused> {
        verdict((self.row == RowOf::TheOrganization).then_some(self.facts))
    }
}

pub(super) struct Fixture {
    pub(super) db: Db,
    pub(super) env: Env,
    pub(super) org: OrgId,
    other_org: OrgId,
}

impl Fixture {
    pub(super) async fn start(database: &TestDatabase) -> Self {
        let env = Env::system();
        let (config, secrets) = (DatabaseConfig::new(database.url()), Secrets::generate(&env));
        let db = Db::connect(&config, "chat", secrets, env.clone()).await.unwrap();
        db.migrate(crate::migrations()).await.unwrap();
        let (org, other_org) = (env.id(), env.id());
        Self {
            db,
            env,
            org,
            other_org,
        }
    }

    async fn insert_chat(&self, tx: &Tx, org: OrgId, chat: ChatId) -> Result<(), StorageError> {
        let row = chat::ActiveModel {
            org_id: Set(org.uuid()),
            chat_id: Set(chat.uuid()),
            kind: Set(ChatKind::Custom as i16),
            unit_id: Set(None),
            unique_key: Set(None),
            label: Set("Поход".into()),
            create_time: Set(self.env.now()),
            archive_time: Set(None),
            head_seq: Set(0),
            audience_version: Set(0),
            archived_seq: Set(0),
            unsupervised: Set(false),
            responsible_id: Set(None),
            deputy_id: Set(None),
            ground_unit_id: Set(None),
        };
        chat::Entity::insert(row).exec_without_returning(tx).await?;
        Ok(())
    }

    /// Inserts the rows of a case. The sender may write by them.
    pub(super) async fn insert(&self, tx: &Tx, case: &Case) -> Result<(), StorageError> {
        if case.chat_exists {
            self.insert_chat(tx, self.org, case.chat).await?;
        }
        let org = match case.row {
            RowOf::Nobody => return Ok(()),
            RowOf::AnotherOrganization => {
                self.insert_chat(tx, self.other_org, case.chat).await?;
                self.other_org
            }
            RowOf::TheOrganization => self.org,
        };
        let row = participant::ActiveModel {
            org_id: Set(org.uuid()),
            chat_id: Set(case.chat.uuid()),
            member_id: Set(case.sender.uuid()),
            joined_seq: Set(0),
            left_seq: Set(None),
            read_seq: Set(0),
            may_post: Set(true),
            kind: Set(1),
            visible_after: Set(0),
            staff_since: Set(None),
            family_since: Set(None),
            returned_after: Set(0),
        };
        participant::Entity::insert(row)
            .exec_without_returning(tx)
            .await?;
        Ok(())
    }

    /// Changes the rows of a case to its facts.
    async fn update(&self, tx: &Tx, case: &Case) -> Result<(), StorageError> {
        for org in [self.org, self.other_org] {
            let key = (org.uuid(), case.chat.uuid());
            if let Some(row) = chat::Entity::find_by_id(key).one(tx).await? {
                let mut row = row.into_active_model();
                // A chat is closed by its archiving or by the lack of an adult.
                let is_archived = case.facts.present;
                row.archive_time = Set((!case.facts.open && is_archived).then(|| self.env.now()));
                row.unsupervised = Set(!case.facts.open && !is_archived);
                row.update(tx).await?;
            }
            let key = (key.0, key.1, case.sender.uuid());
            if let Some(row) = participant::Entity::find_by_id(key).one(tx).await? {
                let mut row = row.into_active_model();
                row.left_seq = Set((!case.facts.present).then_some(1));
                row.may_post = Set(case.facts.may_post);
                row.update(tx).await?;
            }
        }
        Ok(())
    }

    pub(super) fn message(&self, case: &Case, request_id: Uuid) -> (MemberId, Message) {
        let message = Message {
            org_id: self.org,
            to: case.chat,
            request_id,
            text: "Где встречаемся?".into(),
        };
        (case.sender, message)
    }

    /// Sends messages, which the writer stores in one batch, or those of each chat apart if they are stored
    /// as messages of locked chats.
    async fn send(&self, messages: Vec<(MemberId, Message)>, locked: bool) -> Vec<Outcome> {
        let writing = writer(self.db.clone(), Arc::new(NoSubscribers), 128, 128);
        let writer = if locked {
            writing.of_locked_chats()
        } else {
            writing.writer.clone()
        };
        let scope = OrgScope::for_consumer("test", self.org);
        let sends = messages
            .into_iter()
            .map(|(sender, message)| writer.send(&scope, sender, None, message));
        tokio::select! {
            biased;
            // All messages are queued before the task takes the first one.
            outcomes = join_all(sends) => outcomes.into_iter().map(Result::unwrap).collect(),
            ended = writing.task.run(CancellationToken::new()) => panic!("the writer ended: {ended:?}"),
            ended = writing.locked_chats.run(CancellationToken::new()) => panic!("the writer ended: {ended:?}"),
        }
    }
}

/// A case, and the message that its sender stored before the rows got the facts of the case.
struct Prepared {
    case: Case,
    earlier: Option<(Uuid, Stored)>,
}

async fn prepare(fixture: &Fixture) -> Vec<Prepared> {
    let db = &fixture.db;
    let mut prepared = Vec::new();
    for case in &Case::all(&fixture.env) {
        let insert = |tx: Tx| async move { fixture.insert(&tx, case).await };
        db.write(insert).await.unwrap();
        let mut earlier = None;
        if case.row == RowOf::TheOrganization {
            let request_id = fixture.env.ids.uuid();
            let outcomes = fixture.send(vec![fixture.message(case, request_id)], false).await;
            let [Outcome::Stored(stored)] = outcomes.as_slice() else {
                panic!("{case:?}: {outcomes:?}")
            };
            earlier = Some((request_id, stored.clone()));
        }
        let update = |tx: Tx| async move { fixture.update(&tx, case).await };
        db.write(update).await.unwrap();
        prepared.push(Prepared { case: *case, earlier });
    }
    prepared
}

/// Sends a new message of each case in one batch, and repeats the earlier ones in another.
async fn check(fixture: &Fixture, form: &str, locked: bool, cases: &[&Prepared]) {
    let new = cases
        .iter()
        .map(|prepared| fixture.message(&prepared.case, fixture.env.ids.uuid()))
        .collect();
    for (Prepared { case, .. }, outcome) in cases.iter().zip(fixture.send(new, locked).await) {
        match case.verdict() {
            Ok(()) => assert!(
                matches!(outcome, Outcome::Stored(_)),
                "{form}: {case:?}: {outcome:?}"
            ),
            Err(refused) => assert!(
                matches!(outcome, Outcome::Refused(found, _) if found == refused),
                "{form}: {case:?}: {outcome:?}"
            ),
        }
    }
    let earlier: Vec<_> = cases
        .iter()
        .filter_map(|prepared| Some((&prepared.case, prepared.earlier.as_ref()?)))
        .collect();
    let repeated = earlier
        .iter()
        .map(|(case, (request_id, _))| fixture.message(case, *request_id))
        .collect();
    for ((case, (_, stored)), outcome) in earlier.iter().zip(fixture.send(repeated, locked).await) {
        assert_eq!(
            outcome,
            Outcome::Stored(stored.clone()),
            "{form}, repeated: {case:?}"
        );
    }
}

// Covers: R39 allowed, R39 refused
on_both!(
    write_paths_decide_as_the_policy_for_all_facts,
    |database| async move {
        let fixture = Fixture::start(&database).await;
        let prepared = prepare(&fixture).await;
        let all: Vec<_> = prepared.iter().collect();
        // One message and a batch are stored by different functions of PostgreSQL.
        for one in all.iter().copied() {
            check(&fixture, "alone", false, &[one]).await;
        }
        check(&fixture, "in a batch", false, &all).await;
        // A batch without any participant ends early.
        let outside: Vec<_> = prepared
            .iter()
            .filter(|p| p.case.row != RowOf::TheOrganization || !p.case.facts.present)
            .collect();
        check(&fixture, "in a batch without participants", false, &outside).await;
        if fixture.db.is_postgres() {
            // These functions wait for the rows of the chats.
            check(&fixture, "of locked chats", true, &all).await;
        }
        fixture.db.close().await;
    }
);
