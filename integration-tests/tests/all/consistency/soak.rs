//! Repeats rounds for a long time and watches the memory and the descriptors of the chat processes.
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use parta_integration_tests::{REPLICAS, SEED, Suite, number, open_descriptors, resident_kib};
use tokio_util::sync::CancellationToken;

use crate::consistency::{
    COMPLAINTS, PROGRAM, Size, faults::Faults, round::Round, stats::Stats, workload::Workload,
};

/// Environment variable with the duration in minutes.
const MINUTES: &str = "PARTA_SOAK_MINUTES";
/// The rounds are larger than those of the test.
const SIZE: Size = Size {
    writers: 16,
    acts: 250,
    ..Size::SMALL
};
/// The replica that is killed. The other replicas keep running and are measured.
const MORTAL: &str = REPLICAS[2];
/// Minimum number of rounds: one to warm up, the others to compare.
const ROUNDS: usize = 3;
/// Growth of memory that is accepted after the warm-up, in KiB. Allocators keep freed memory, and connection
/// pools fill under load. A leak of streams or entries exceeds this value within minutes.
const MEMORY_SLACK_KIB: f64 = 24.0 * 1024.0;
/// Growth of idle descriptors that is accepted. A database pool may hold another connection or two, and a
/// client may reconnect before its former connection is closed.
const DESCRIPTOR_SLACK: usize = 8;

/// Measurements of one process.
#[derive(Default)]
struct Seen {
    /// Seconds since the begin, and memory in KiB. One sample per second.
    memory: Vec<(f64, f64)>,
    /// Number of descriptors without open streams, at the begin and after each round.
    at_rest: Vec<usize>,
    most_descriptors: usize,
}

#[derive(Default)]
struct Samples(Mutex<BTreeMap<&'static str, Seen>>);

impl Samples {
    async fn take(&self, suite: &Suite, begun: Instant, at_rest: bool) {
        let processes = suite.process_ids().await;
        let mut samples = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (name, id) in processes.into_iter().filter(|(name, _)| REPLICAS.contains(name)) {
            let seen = samples.entry(name).or_default();
            let open = open_descriptors(id);
            seen.memory
                .push((begun.elapsed().as_secs_f64(), resident_kib(id)));
            seen.most_descriptors = seen.most_descriptors.max(open);
            if at_rest {
                seen.at_rest.push(open);
            }
        }
    }
}

impl Seen {
    /// Fits a line to the memory since `from` and returns its first and last value, in KiB.
    fn trend(&self, from: f64) -> (f64, f64) {
        let points: Vec<_> = self.memory.iter().filter(|(at, _)| *at >= from).collect();
        let count = points.len().max(1) as f64;
        let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(|p| of(p)).sum::<f64>() / count;
        let (time, memory) = (mean(|p| p.0), mean(|p| p.1));
        let spread: f64 = points.iter().map(|(at, _)| (at - time).powi(2)).sum();
        let together: f64 = points.iter().map(|(at, kib)| (at - time) * (kib - memory)).sum();
        let slope = if spread > 0.0 { together / spread } else { 0.0 };
        let at = |point: Option<&&(f64, f64)>| memory + slope * (point.map_or(time, |p| p.0) - time);
        (at(points.first()), at(points.last()))
    }

    /// Prints the measurements and returns the violated limits.
    fn report(&self, name: &str, warm: f64) -> Vec<String> {
        let (first, last) = self.trend(warm);
        let minutes = (self.memory.last().map_or(warm, |p| p.0) - warm) / 60.0;
        let mib = |kib: f64| kib / 1024.0;
        println!(
            "{name}: MiB {:.1} at first, {:.1} warm, {:.1} at the end, {:+.2} a minute; \
             descriptors at rest {:?}, at most {}",
            mib(self.memory.first().map_or(0.0, |p| p.1)),
            mib(first),
            mib(last),
            mib(last - first) / minutes.max(1.0 / 60.0),
            self.at_rest,
            self.most_descriptors
        );
        let mut wrong = Vec::new();
        // The limit is a tenth of the memory, and at least the slack.
        if last - first > (first / 10.0).max(MEMORY_SLACK_KIB) {
            wrong.push(format!("the memory of {name} grows"));
        }
        let warm_ones = self.at_rest.get(1).copied().unwrap_or_default();
        // Compare the minimum of the second half, because a leak remains after every round and a short peak
        // does not.
        let half = (self.at_rest.len() / 2).max(2);
        let later = self.at_rest.iter().skip(half).copied().min().unwrap_or_default();
        if later > warm_ones + DESCRIPTOR_SLACK {
            wrong.push(format!("the descriptors of {name} grow"));
        }
        wrong
    }
}

#[test]
#[ignore = "lasts as long as PARTA_SOAK_MINUTES says: `cargo xtask soak` runs it"]
fn soak() {
    let lasts = Duration::from_secs(60 * number(MINUTES, 1));
    // The number of rounds has a minimum, and the last round always runs to its end.
    parta_testkit::run_for(2 * lasts + Duration::from_mins(30), async {
        let seed = number(SEED, 1);
        println!("{SEED}={seed}");
        let cluster = Suite::replicated(PROGRAM).await;
        println!("{}", cluster.database.way_to_crash());
        cluster.suite.expect_complaints(&COMPLAINTS).await;
        let (stats, samples) = (Arc::new(Stats::default()), Samples::default());
        let mut workload = Workload::new(&cluster.suite, &SIZE).await;
        let begun = Instant::now();
        samples.take(&cluster.suite, begun, true).await;
        let done = CancellationToken::new();
        let watch = async {
            let mut tick = tokio::time::interval(Duration::from_secs(1));
            while done.run_until_cancelled(tick.tick()).await.is_some() {
                samples.take(&cluster.suite, begun, false).await;
            }
        };
        let play = async {
            let mut warm = None;
            for n in 0.. {
                if n >= ROUNDS && begun.elapsed() > lasts {
                    break;
                }
                let of_round = seed.wrapping_add(n as u64);
                let round = Round::new(workload, &REPLICAS, SIZE, of_round, stats.clone());
                let faults = Faults::of_a_cluster(&cluster, &[MORTAL]);
                let (after, found) = round.play(faults).await;
                assert!(found.is_empty(), "{SEED}={of_round}:\n{}", found.join("\n"));
                samples.take(&cluster.suite, begun, true).await;
                warm = warm.or(Some(begun.elapsed()));
                println!("round {n} after {:.0} s", begun.elapsed().as_secs_f64());
                workload = after;
                workload.prolong().await;
                workload.name_people(&SIZE).await;
            }
            done.cancel();
            // A process is warm after its first whole round and after a third of the duration.
            warm.unwrap_or_default().max(begun.elapsed() / 3).as_secs_f64()
        };
        let ((), warm) = tokio::join!(watch, play);
        println!("{stats}");
        let mut wrong = Vec::new();
        for (name, seen) in &*samples.0.lock().unwrap_or_else(PoisonError::into_inner) {
            let grows = seen.report(name, warm);
            if *name != MORTAL {
                wrong.extend(grows);
            }
        }
        cluster.suite.stop().await;
        cluster.database.stop().await;
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ten minutes of samples, of which the first is ignored.
    fn wrong(kib_a_minute: f64, at_rest: &[usize]) -> Vec<String> {
        let noise = |at: u32| f64::from(at % 7) * 512.0;
        let memory = (0..600).map(|at| {
            let warmth = if at < 60 {
                60_000.0 * f64::from(60 - at) / 60.0
            } else {
                0.0
            };
            let kib = 60_000.0 - warmth + noise(at) + kib_a_minute * f64::from(at) / 60.0;
            (f64::from(at), kib)
        });
        let seen = Seen {
            memory: memory.collect(),
            at_rest: at_rest.to_vec(),
            most_descriptors: 90,
        };
        seen.report("chat", 60.0)
    }

    #[test]
    fn growth_is_reported_and_warm_up_and_noise_are_ignored() {
        assert_eq!(wrong(0.0, &[10, 20, 28, 19, 31]), [""; 0]);
        assert_eq!(wrong(2_000.0, &[10, 20]), [""; 0]);
        assert_eq!(wrong(4_000.0, &[10, 20]).len(), 1);
        assert_eq!(wrong(0.0, &[10, 20, 30, 40, 50]).len(), 1);
        let one_a_round: Vec<usize> = (10..40).collect();
        assert_eq!(wrong(0.0, &one_a_round).len(), 1);
    }
}
