//! The faults and their times, in counts of responses, so that a slow machine has the same plan.
use parta_integration_tests::{Chance, Postgres, Replicated, Suite};
use parta_testkit::Link;

use crate::consistency::{Size, round::Course, stats::Stats};

/// Number of faults of each kind.
#[derive(Clone, Copy)]
pub(crate) struct Steps {
    pub(crate) kills: usize,
    pub(crate) crashes: usize,
    pub(crate) cuts: usize,
}

#[derive(Clone, Copy)]
enum Step {
    Kill(&'static str),
    Start(&'static str),
    Crash,
    Cut,
    Mend,
}

/// The parts of the suite that can fail.
#[derive(Clone, Copy)]
pub(crate) struct Faults<'a> {
    suite: &'a Suite,
    mortal: &'a [&'static str],
    bus: Option<&'a Link>,
    database: Option<&'a Postgres>,
}

impl<'a> Faults<'a> {
    /// Faults of a suite in one process: the process is killed.
    pub(crate) fn of_one_process(suite: &'a Suite) -> Self {
        Self {
            suite,
            mortal: &["chat"],
            bus: None,
            database: None,
        }
    }

    /// Faults of a replicated suite: some replicas are killed, the database crashes and the bus is
    /// disconnected.
    pub(crate) fn of_a_cluster(cluster: &'a Replicated, mortal: &'a [&'static str]) -> Self {
        Self {
            suite: &cluster.suite,
            mortal,
            bus: Some(&cluster.bus),
            database: Some(&cluster.database),
        }
    }

    /// Plans the steps. Each kind of fault has its own sections: only one replica is down at a time, but
    /// different kinds of fault overlap.
    fn plan(&self, seed: u64, size: &Size) -> Vec<(usize, Step)> {
        let mut seeded_rng = Chance::of_actor(seed, "faults", 0);
        let acts = size.all_acts();
        let mut steps = Vec::new();
        for n in 0..size.faults.kills {
            let (begin, end) = span(&mut seeded_rng, acts, n, size.faults.kills);
            let replica = self.mortal[n % self.mortal.len()];
            // No call succeeds while the only process is down, so it starts at the same count.
            let end = if self.bus.is_some() { end } else { begin };
            steps.extend([(begin, Step::Kill(replica)), (end, Step::Start(replica))]);
        }
        if self.bus.is_some() {
            for n in 0..size.faults.cuts {
                let (begin, end) = span(&mut seeded_rng, acts, n, size.faults.cuts);
                steps.extend([(begin, Step::Cut), (end, Step::Mend)]);
            }
        }
        if self.database.is_some() {
            for n in 0..size.faults.crashes {
                let (at, _) = span(&mut seeded_rng, acts, n, size.faults.crashes);
                steps.push((at, Step::Crash));
            }
        }
        // The sort is stable: at the same count, a kill stays before its start.
        steps.sort_by_key(|(at, _)| *at);
        steps
    }

    /// Executes the steps at their times.
    pub(crate) async fn happen(self, seed: u64, size: Size, course: Course, stats: &Stats) {
        for (at, step) in self.plan(seed, &size) {
            course.reaches(at).await;
            match step {
                Step::Kill(replica) => {
                    self.suite.kill(replica).await;
                    stats.kills.add();
                }
                Step::Start(replica) => self.suite.restart(replica).await,
                Step::Crash => {
                    if let Some(database) = self.database {
                        database.crash().await;
                    }
                    stats.crashes.add();
                }
                Step::Cut => {
                    if let Some(bus) = self.bus {
                        bus.cut().await;
                    }
                    stats.cuts.add();
                }
                Step::Mend => {
                    if let Some(bus) = self.bus {
                        bus.mend();
                    }
                }
            }
        }
    }
}

/// Returns the begin and the end of the n-th of `of` faults of one kind, in counts of responses. The last
/// quarter has no faults, because every stream reads the database after a fault and would recover entries
/// that it had lost.
fn span(seeded_rng: &mut Chance, acts: usize, n: usize, of: usize) -> (usize, usize) {
    let section = acts * 3 / 4 / of;
    let begin = n * section + section / 10 + seeded_rng.below(section / 3);
    (begin, begin + section / 10 + seeded_rng.below(section / 3))
}
