//! The faults. Each happens after a planned number of responses, so that a slow machine has the same plan.
use parta_integration_tests::{Postgres, Replicated, SeededRng, Suite};
use parta_testkit::Link;

use crate::consistency::{Size, round::Progress, stats::Stats};

/// Number of faults of each kind.
#[derive(Clone, Copy)]
pub(crate) struct FaultCounts {
    pub(crate) kills: usize,
    pub(crate) database_crashes: usize,
    /// The host of the database vanishes, and another one is there at once.
    pub(crate) vanishings: usize,
    pub(crate) disconnects: usize,
}

#[derive(Clone, Copy)]
enum Step {
    Kill(&'static str),
    Start(&'static str),
    CrashDatabase,
    VanishDatabase,
    DisconnectBus,
    ReconnectBus,
}

/// The processes and connections that can fail.
#[derive(Clone, Copy)]
pub(crate) struct Faults<'a> {
    suite: &'a Suite,
    killable_replicas: &'a [&'static str],
    bus: Option<&'a Link>,
    /// The server, and the connection to it.
    database: Option<(&'a Postgres, &'a Link)>,
}

impl<'a> Faults<'a> {
    /// Faults of all services in one process: the process is killed.
    pub(crate) fn for_one_process(suite: &'a Suite) -> Self {
        Self {
            suite,
            killable_replicas: &["chat"],
            bus: None,
            database: None,
        }
    }

    /// Faults of replicated services: some replicas are killed, the database crashes and the bus is
    /// disconnected.
    pub(crate) fn for_cluster(cluster: &'a Replicated, killable_replicas: &'a [&'static str]) -> Self {
        Self {
            suite: &cluster.suite,
            killable_replicas,
            bus: Some(&cluster.bus),
            database: Some((&cluster.database, &cluster.database_link)),
        }
    }

    /// Plans the steps, each with the number of responses after which it happens. Faults of one kind do not
    /// overlap, so only one replica is down at a time. Faults of different kinds can overlap.
    fn plan(&self, seed: u64, size: &Size) -> Vec<(usize, Step)> {
        let mut seeded_rng = SeededRng::for_actor(seed, "faults", 0);
        let messages = size.total_messages();
        let mut steps = Vec::new();
        for n in 0..size.faults.kills {
            let (begin, end) = fault_interval(&mut seeded_rng, messages, n, size.faults.kills);
            let replica = self.killable_replicas[n % self.killable_replicas.len()];
            // No call succeeds while the only process is down, so it starts at the same count.
            let end = if self.bus.is_some() { end } else { begin };
            steps.extend([(begin, Step::Kill(replica)), (end, Step::Start(replica))]);
        }
        if self.bus.is_some() {
            for n in 0..size.faults.disconnects {
                let (begin, end) = fault_interval(&mut seeded_rng, messages, n, size.faults.disconnects);
                steps.extend([(begin, Step::DisconnectBus), (end, Step::ReconnectBus)]);
            }
        }
        if self.database.is_some() {
            for n in 0..size.faults.database_crashes {
                let (at, _) = fault_interval(&mut seeded_rng, messages, n, size.faults.database_crashes);
                steps.push((at, Step::CrashDatabase));
            }
            for n in 0..size.faults.vanishings {
                let (at, _) = fault_interval(&mut seeded_rng, messages, n, size.faults.vanishings);
                steps.push((at, Step::VanishDatabase));
            }
        }
        // The sort is stable: at the same count, a kill stays before its start.
        steps.sort_by_key(|(at, _)| *at);
        steps
    }

    /// Executes the planned steps.
    pub(crate) async fn run(self, seed: u64, size: Size, progress: Progress, stats: &Stats) {
        for (at, step) in self.plan(seed, &size) {
            progress.wait_until(at).await;
            match step {
                Step::Kill(replica) => {
                    self.suite.kill(replica).await;
                    stats.kills.add();
                }
                Step::Start(replica) => self.suite.restart(replica).await,
                Step::CrashDatabase => {
                    if let Some((database, _)) = self.database {
                        database.crash().await;
                    }
                    stats.database_crashes.add();
                }
                Step::VanishDatabase => {
                    // The connections stay open and silent for good; new ones reach the server.
                    if let Some((_, link)) = self.database {
                        link.silence();
                        link.reconnect();
                    }
                    stats.vanishings.add();
                }
                Step::DisconnectBus => {
                    if let Some(bus) = self.bus {
                        bus.disconnect().await;
                    }
                    stats.disconnects.add();
                }
                Step::ReconnectBus => {
                    if let Some(bus) = self.bus {
                        bus.reconnect();
                    }
                }
            }
        }
    }
}

/// Returns the begin and the end of the n-th of `count` faults of one kind, in numbers of responses. The last
/// quarter has no faults: after a fault every stream reads the database, which would hide lost entries.
fn fault_interval(seeded_rng: &mut SeededRng, messages: usize, n: usize, count: usize) -> (usize, usize) {
    let section = messages * 3 / 4 / count;
    let begin = n * section + section / 10 + seeded_rng.below(section / 3);
    (begin, begin + section / 10 + seeded_rng.below(section / 3))
}
