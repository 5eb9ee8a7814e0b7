//! The same for a long time, round after round, while memory and descriptors of the processes of chat are watched.
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

/// ConsumerNames how long it lasts.
const MINUTES: &str = "PARTA_SOAK_MINUTES";
/// Each round is larger than the test's.
const SIZE: Size = Size {
    writers: 16,
    acts: 250,
    ..Size::SMALL
};
/// Who is killed now and then; the others live through it and are measured.
const MORTAL: &str = REPLICAS[2];
/// The fewest rounds: one to warm up, and some to compare.
const ROUNDS: usize = 3;
/// So much more memory, from the warm-up to the end, is not growth: allocators keep what they once needed, and the pools of
/// connections fill with the load. A stream that were kept for ever, or an entry, would pass it within minutes.
const MEMORY_SLACK_KIB: f64 = 24.0 * 1024.0;
/// So many descriptors more at rest are not growth: a pool of the database may hold another connection or two, a client may
/// connect anew before its former connection is closed.
const DESCRIPTOR_SLACK: usize = 8;

/// What was seen of one process.
#[derive(Default)]
struct Seen {
    /// Seconds since the beginning and memory in KiB, each second.
    memory: Vec<(f64, f64)>,
    /// Descriptors whenever no stream was open: at the beginning and after each round.
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
    /// Of the memory from a time on: what it is at first and at last by the straight line that fits best, in KiB.
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

    /// Prints what was seen, and answers why it is too much.
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
        // A tenth, or the slack where that is more.
        if last - first > (first / 10.0).max(MEMORY_SLACK_KIB) {
            wrong.push(format!("the memory of {name} grows"));
        }
        let warm_ones = self.at_rest.get(1).copied().unwrap_or_default();
        // The least of the second half: one more for a while is none, one more each round is.
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
    // The first rounds are played whatever the time, and the last one is played to its end.
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
            // Warm is who lived through a round, and through a third of the whole.
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

    /// Ten minutes, of which the first is not looked at.
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
    fn growth_is_told_and_warmth_and_noise_are_not() {
        assert_eq!(wrong(0.0, &[10, 20, 28, 19, 31]), [""; 0]);
        assert_eq!(wrong(2_000.0, &[10, 20]), [""; 0]);
        assert_eq!(wrong(4_000.0, &[10, 20]).len(), 1);
        assert_eq!(wrong(0.0, &[10, 20, 30, 40, 50]).len(), 1);
        let one_a_round: Vec<usize> = (10..40).collect();
        assert_eq!(wrong(0.0, &one_a_round).len(), 1);
    }
}
