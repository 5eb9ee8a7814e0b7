//! Consistency of chat under failures. Every acknowledged message is stored once, `seq` has no gap, and every
//! subscriber receives each entry of its own participations once and in order, and none after the entry of
//! leaving. Every replica refuses a session two seconds after its end, and a restore of membership gives no
//! access back.
//!
//! Many actors write, join, leave and read concurrently, by plans that are generated from a seed. Meanwhile
//! processes are killed, PostgreSQL crashes, its host vanishes and NATS is disconnected, each after a planned
//! number of responses, so that a slow machine has the same plan. Afterwards a permanent participant of each
//! chat lists its log, and [`checker`] compares the logs with the responses of all actors. At the end,
//! membership is restored from a backup of before. `PARTA_TEST_SEED` repeats the plans of a run, but not
//! their timing.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test may panic and prints its seed"
)]
mod checker;
mod faults;
mod participants;
mod reader;
mod restored;
mod revoked;
mod round;
mod soak;
mod stats;
mod workload;
mod writer;

use std::sync::Arc;

use parta_integration_tests::{REPLICAS, SEED, Suite, number_from_env};

use faults::{FaultCounts, Faults};
use round::Round;
use stats::Stats;
use workload::Workload;

const PROGRAM: &str = env!("CARGO_BIN_EXE_suite-process");

/// Log lines that are caused by the faults, and only by them.
const COMPLAINTS: [&str; 11] = [
    // PostgreSQL is stopped or stopping.
    "the database is unavailable",
    "terminating connection due to immediate shutdown command",
    "error occurred while testing the connection on-release",
    // The host of the database vanishes.
    "database connection given up",
    "service not serving: database failed",
    // Membership is restored.
    "replacing a projection by a snapshot",
    "the source has lost events",
    // Other services wait for the feed of chat, which needs its database.
    "feed interrupted",
    // The bus closes all connections at once.
    "expected INFO, got nothing",
    // A caller left during the commit of its transaction. The driver rolls back, too late and without effect.
    "there is no transaction in progress",
    // The machine is busy.
    "time to acquire exceeded slow threshold",
];

/// The size of a round. A round is one execution of all plans.
#[derive(Clone, Copy)]
struct Size {
    /// Number of concurrent writers, and of messages per writer.
    writers: usize,
    messages: usize,
    pupils: usize,
    /// Number of custom chats with changing participants, besides the two derived chats of the classes.
    changing_chats: usize,
    /// Number of live streams per person.
    streams: usize,
    /// Number of faults of each kind.
    faults: FaultCounts,
    /// Number of people whose session ends.
    revocations: usize,
}

impl Size {
    const SMALL: Self = Self {
        writers: 12,
        messages: 90,
        pupils: 4,
        changing_chats: 2,
        streams: 2,
        faults: FaultCounts {
            kills: 3,
            database_crashes: 2,
            vanishings: 1,
            disconnects: 3,
        },
        revocations: 2,
    };

    fn total_messages(&self) -> usize {
        self.writers * self.messages
    }
}

/// `processes` are those of the suite, of which the replicas serve chat.
async fn check_consistency(
    suite: &Suite,
    (processes, replicas): (&[&'static str], &[&'static str]),
    size: Size,
    faults: Faults<'_>,
) {
    // The default seed is fixed, so that a failure can be repeated.
    let seed = number_from_env(SEED, 1);
    println!("{SEED}={seed}");
    suite.expect_complaints(&COMPLAINTS).await;
    let stats = Arc::new(Stats::default());
    let workload = Workload::new(suite, &size).await;
    let folder = tempfile::tempdir().unwrap();
    let backup = folder.path().join("backup").display().to_string();
    suite.run(&["backup", &backup]).await;
    let round = Round::new(workload, replicas, size, seed, stats.clone());
    let (workload, mut violations) = round.run(faults).await;
    println!("{stats}");
    violations.extend(restored::restore_membership(suite, processes, &backup, &workload).await);
    assert!(
        violations.is_empty(),
        "{} violations, {SEED}={seed}:\n{}",
        violations.len(),
        violations[..violations.len().min(20)].join("\n")
    );
}

/// Covers: R38 refused, R39 allowed, R43 allowed, R43 refused
mod chat_log_and_streams_stay_consistent_when_processes_fail {
    use super::*;

    #[test]
    fn one_process() {
        parta_testkit::run(async {
            let suite = Suite::process(PROGRAM).await;
            let faults = Faults::for_one_process(&suite);
            let names = &REPLICAS[..1];
            check_consistency(&suite, (names, names), Size::SMALL, faults).await;
            suite.stop().await;
        });
    }

    #[test]
    fn split() {
        parta_testkit::run(async {
            let cluster = Suite::replicated(PROGRAM).await;
            println!("{}", cluster.database.way_to_crash());
            let faults = Faults::for_cluster(&cluster, &REPLICAS);
            let services = parta::SERVICES.iter().map(|service| service.name);
            let names: Vec<_> = services.chain(REPLICAS[1..].iter().copied()).collect();
            check_consistency(&cluster.suite, (&names, &REPLICAS), Size::SMALL, faults).await;
            cluster.suite.stop().await;
            cluster.database.stop().await;
        });
    }
}
