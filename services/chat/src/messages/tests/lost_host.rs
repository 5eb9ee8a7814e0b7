//! The writer while the PostgreSQL host vanishes without a word.
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use parta_access::{OrgScope, Secrets};
use parta_database::{DatabaseConfig, Db, Tx};
use parta_ids::OrgId;
use parta_status::RpcError;
use parta_testkit::{Link, on_postgres};
use tokio_util::sync::CancellationToken;

use super::{
    super::writer::{Outcome, Stored, Writing, writer},
    verdicts::{Case, Fixture, RowOf},
};
use crate::entries::{Entry, EntrySink};

const STATEMENT: Duration = Duration::from_millis(600);
const REPLY: Duration = Duration::from_millis(400);
/// The machine of the tests may be loaded.
const MARGIN: Duration = Duration::from_secs(2);

/// Counts the comparisons that are requested.
#[derive(Default)]
struct Comparisons(AtomicUsize);

impl EntrySink for Comparisons {
    fn publish(&self, _: Vec<Entry>) {}

    fn publish_after_commit(&self, _: &Tx, _: Vec<Entry>) {}

    fn compare_organization(&self, _: OrgId) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

// A host that swallows everything for a while, and then for good what comes over the old connections.
on_postgres!(
    sends_succeed_soon_after_a_lost_host,
    "SQLite is a file of the process",
    |database| async move {
        for text in ["database connection given up", "the database is unavailable"] {
            parta_testkit::logs().allow(text);
        }
        let fixture = Fixture::start(&database).await;
        let case = Case::all(&fixture.env)
            .into_iter()
            .find(|case| case.chat_exists && case.row == RowOf::TheOrganization)
            .unwrap();
        fixture
            .db
            .write(|tx| {
                let (fixture, case) = (&fixture, &case);
                async move { fixture.insert(&tx, case).await }
            })
            .await
            .unwrap();
        let link = Link::to(database.url()).await;
        let config = DatabaseConfig {
            statement_timeout: STATEMENT,
            acquire_timeout: REPLY,
            reply_timeout: REPLY,
            ..DatabaseConfig::new(link.through(database.url()))
        };
        let env = fixture.env.clone();
        let db = Db::connect(&config, "chat", Secrets::generate(&env), env.clone())
            .await
            .unwrap();
        let comparisons = Arc::<Comparisons>::default();
        let Writing { writer, task, .. } = writer(db.clone(), comparisons.clone(), 128, 128);
        let scope = OrgScope::for_consumer("test", fixture.org);
        let request_id = env.ids.uuid();
        let send = async |request_id| {
            let (sender, message) = fixture.message(&case, request_id);
            writer.send(&scope, sender, None, message).await
        };
        let seq = |outcome: Result<Outcome, RpcError>| match outcome {
            Ok(Outcome::Stored(Stored { seq, .. })) => seq,
            other => panic!("{other:?}"),
        };
        let sends = async {
            let first = seq(send(env.ids.uuid()).await);
            // Its connection is lost, and another one is possible: the writer sends again.
            link.silence();
            link.reconnect();
            let started = Instant::now();
            let second = seq(send(request_id).await);
            assert!(
                started.elapsed() < STATEMENT + REPLY + MARGIN,
                "{:?}",
                started.elapsed()
            );
            assert_eq!(second, first + 1);

            // No connection is possible.
            link.silence();
            let started = Instant::now();
            let refused = send(env.ids.uuid()).await.unwrap_err();
            assert_eq!(refused.code(), tonic::Code::Unavailable);
            // The message may be stored: its reply was lost in the first attempt.
            assert_eq!(comparisons.0.load(Ordering::SeqCst), 1);
            // Six attempts.
            assert!(
                started.elapsed() < STATEMENT + REPLY * 6 + MARGIN,
                "{:?}",
                started.elapsed()
            );

            link.reconnect();
            let started = Instant::now();
            assert_eq!(seq(send(env.ids.uuid()).await), second + 1);
            assert_eq!(seq(send(request_id).await), second, "a repetition");
            assert!(started.elapsed() < MARGIN, "{:?}", started.elapsed());
        };
        tokio::select! {
            biased;
            () = sends => {}
            ended = task.run(CancellationToken::new()) => panic!("the writer ended: {ended:?}"),
        }
        db.close().await;
    }
);
