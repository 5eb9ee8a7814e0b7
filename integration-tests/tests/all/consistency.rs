//! What chat promises while everything around it fails: every acknowledged message is there once, `seq` has no gap, every
//! subscriber sees every entry of the time in which they are in once and in order, and none after the entry of their removal.
//!
//! Many write, come, go and read at the same time, by plans that a seed makes; meanwhile processes are killed, PostgreSQL
//! crashes, NATS is lost, at counts of answers and not at times. Afterwards somebody who was in all the time lists the logs,
//! and [`verdict`] compares them with what everybody was told. `PARTA_TEST_SEED` repeats the plans of a run; how they meet
//! is up to the machine.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test may fail loudly and says its seed"
)]
mod faults;
mod moves;
mod reader;
mod round;
mod soak;
mod stats;
mod verdict;
mod workload;
mod writer;

use std::sync::Arc;

use parta_integration_tests::{REPLICAS, SEED, Suite, number};

use faults::{Faults, Steps};
use round::Round;
use stats::Stats;
use workload::Workload;

const PROGRAM: &str = env!("CARGO_BIN_EXE_suite-process");

/// What the faults make processes complain of, and nothing else does.
const COMPLAINTS: [&str; 7] = [
    // PostgreSQL is gone, or says that it goes.
    "the database is unavailable",
    "terminating connection due to immediate shutdown command",
    "error occurred while testing the connection on-release",
    // Others wait for chat's feed, which comes from its database.
    "feed interrupted",
    // The bus closes every connection at once.
    "expected INFO, got nothing",
    // A caller went away while its transaction was committed: the driver takes it back, too late and to no effect.
    "there is no transaction in progress",
    // The machine is busy.
    "time to acquire exceeded slow threshold",
];

/// How much of everything.
#[derive(Clone, Copy)]
struct Size {
    /// Who writes at the same time, and how often each.
    writers: usize,
    acts: usize,
    /// Pupils of the two classes.
    pupils: usize,
    /// Chats whose people come and go by hand, beside the two that follow the classes.
    rooms: usize,
    /// Live streams of each person.
    streams: usize,
    /// How often each kind of fault comes.
    faults: Steps,
}

impl Size {
    const SMALL: Self = Self {
        writers: 12,
        acts: 90,
        pupils: 4,
        rooms: 2,
        streams: 2,
        faults: Steps {
            kills: 3,
            crashes: 2,
            cuts: 3,
        },
    };

    fn all_acts(&self) -> usize {
        self.writers * self.acts
    }
}

async fn holds(suite: &Suite, replicas: &[&'static str], size: Size, faults: Faults<'_>) {
    // The same for everybody who names none: what it finds is found again.
    let seed = number(SEED, 1);
    println!("{SEED}={seed}");
    suite.expect_complaints(&COMPLAINTS).await;
    let stats = Arc::new(Stats::default());
    let workload = Workload::new(suite, &size).await;
    let round = Round::new(workload, replicas, size, seed, stats.clone());
    let (_, found) = round.play(faults).await;
    println!("{stats}");
    assert!(
        found.is_empty(),
        "{} faults, {SEED}={seed}:\n{}",
        found.len(),
        found[..found.len().min(20)].join("\n")
    );
}

/// Covers: R38 refused, R39 allowed, R43 allowed, R43 refused
mod chat_keeps_its_promises_whatever_fails {
    use super::*;

    #[test]
    fn one_process() {
        parta_testkit::run(async {
            let suite = Suite::process(PROGRAM).await;
            let faults = Faults::of_one_process(&suite);
            holds(&suite, &REPLICAS[..1], Size::SMALL, faults).await;
            suite.stop().await;
        });
    }

    #[test]
    fn split() {
        parta_testkit::run(async {
            let cluster = Suite::replicated(PROGRAM).await;
            println!("{}", cluster.database.way_to_crash());
            let faults = Faults::of_a_cluster(&cluster, &REPLICAS);
            holds(&cluster.suite, &REPLICAS, Size::SMALL, faults).await;
            cluster.suite.stop().await;
            cluster.database.stop().await;
        });
    }
}
