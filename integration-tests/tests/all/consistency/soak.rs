//! Repeats rounds for a long time and watches the memory and the descriptors of the chat processes.
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use parta_integration_tests::{REPLICAS, SEED, Suite, number_from_env, open_descriptors, resident_kib};
use tokio_util::sync::CancellationToken;

use crate::consistency::{
    COMPLAINTS, PROGRAM, Size, faults::Faults, round::Round, stats::Stats, workload::Workload,
};

/// Environment variable with the duration in minutes.
const MINUTES: &str = "PARTA_SOAK_MINUTES";
/// The rounds are larger than those of the test.
const SIZE: Size = Size {
    writers: 16,
    messages: 250,
    ..Size::SMALL
};
/// The replica that is killed. The other replicas are never killed, and their growth is checked.
const KILLED_REPLICA: &str = REPLICAS[2];
/// Minimum number of rounds: one for the warm-up, the others to compare.
const MIN_ROUNDS: usize = 3;
/// Accepted growth of memory after the warm-up, in KiB. Allocators keep freed memory, and connection
/// pools fill under load. A leak of streams or entries exceeds this value within minutes.
const MEMORY_SLACK_KIB: f64 = 24.0 * 1024.0;
/// Accepted growth of the number of descriptors without open streams. A database pool may hold another
/// connection or two, and a client may reconnect before its former connection is closed.
const DESCRIPTOR_SLACK: usize = 8;

#[derive(Default)]
struct ProcessStats {
    /// Seconds since the begin, and memory in KiB. One sample per second.
    memory: Vec<(f64, f64)>,
    /// Number of descriptors while no stream is open, at the begin and after each round.
    without_streams: Vec<usize>,
    max_descriptors: usize,
}

#[derive(Default)]
struct Samples(Mutex<BTreeMap<&'static str, ProcessStats>>);

impl Samples {
    async fn take(&self, suite: &Suite, begin: Instant, without_streams: bool) {
        let processes = suite.process_ids().await;
        let mut samples = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (name, id) in processes.into_iter().filter(|(name, _)| REPLICAS.contains(name)) {
            let process_stats = samples.entry(name).or_default();
            let open = open_descriptors(id);
            process_stats
                .memory
                .push((begin.elapsed().as_secs_f64(), resident_kib(id)));
            process_stats.max_descriptors = process_stats.max_descriptors.max(open);
            if without_streams {
                process_stats.without_streams.push(open);
            }
        }
    }
}

impl ProcessStats {
    /// Fits a line to the memory since `from` and returns its first and last value, in KiB.
    fn trend(&self, from: f64) -> (f64, f64) {
        let points: Vec<_> = self.memory.iter().filter(|(at, _)| *at >= from).collect();
        let count = points.len().max(1) as f64;
        let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(|p| of(p)).sum::<f64>() / count;
        let (time, memory) = (mean(|p| p.0), mean(|p| p.1));
        let variance: f64 = points.iter().map(|(at, _)| (at - time).powi(2)).sum();
        let covariance: f64 = points.iter().map(|(at, kib)| (at - time) * (kib - memory)).sum();
        let slope = if variance > 0.0 {
            covariance / variance
        } else {
            0.0
        };
        let at = |point: Option<&&(f64, f64)>| memory + slope * (point.map_or(time, |p| p.0) - time);
        (at(points.first()), at(points.last()))
    }

    /// Prints the measurements and returns the violated limits.
    fn report(&self, name: &str, warm_up_end: f64) -> Vec<String> {
        let (first, last) = self.trend(warm_up_end);
        let minutes = (self.memory.last().map_or(warm_up_end, |p| p.0) - warm_up_end) / 60.0;
        let mib = |kib: f64| kib / 1024.0;
        println!(
            "{name}: memory {:.1} MiB at the start, {:.1} after the warm-up, {:.1} at the end, {:+.2} per minute; \
             {:?} descriptors without streams, at most {} in total",
            mib(self.memory.first().map_or(0.0, |p| p.1)),
            mib(first),
            mib(last),
            mib(last - first) / minutes.max(1.0 / 60.0),
            self.without_streams,
            self.max_descriptors
        );
        let mut violations = Vec::new();
        // The limit is a tenth of the memory, and at least the slack.
        if last - first > (first / 10.0).max(MEMORY_SLACK_KIB) {
            violations.push(format!("the memory of {name} grows"));
        }
        let after_warm_up = self.without_streams.get(1).copied().unwrap_or_default();
        // Compare the minimum of the second half, because a leak remains after every round and a short peak
        // does not.
        let half = (self.without_streams.len() / 2).max(2);
        let later = self
            .without_streams
            .iter()
            .skip(half)
            .copied()
            .min()
            .unwrap_or_default();
        if later > after_warm_up + DESCRIPTOR_SLACK {
            violations.push(format!("the descriptors of {name} grow"));
        }
        violations
    }
}

#[test]
#[ignore = "runs for PARTA_SOAK_MINUTES minutes: use `cargo xtask soak`"]
fn soak() {
    let duration = Duration::from_secs(60 * number_from_env(MINUTES, 1));
    // The number of rounds has a minimum, and the last round always runs to its end.
    parta_testkit::run_for(2 * duration + Duration::from_mins(30), async {
        let seed = number_from_env(SEED, 1);
        println!("{SEED}={seed}");
        let cluster = Suite::replicated(PROGRAM).await;
        println!("{}", cluster.database.way_to_crash());
        cluster.suite.expect_complaints(&COMPLAINTS).await;
        let (stats, samples) = (Arc::new(Stats::default()), Samples::default());
        let mut workload = Workload::new(&cluster.suite, &SIZE).await;
        let begin = Instant::now();
        samples.take(&cluster.suite, begin, true).await;
        let done = CancellationToken::new();
        let sample = async {
            let mut tick = tokio::time::interval(Duration::from_secs(1));
            while done.run_until_cancelled(tick.tick()).await.is_some() {
                samples.take(&cluster.suite, begin, false).await;
            }
        };
        let run_rounds = async {
            let mut warm_up_end = None;
            for n in 0.. {
                if n >= MIN_ROUNDS && begin.elapsed() > duration {
                    break;
                }
                let round_seed = seed.wrapping_add(n as u64);
                let round = Round::new(workload, &REPLICAS, SIZE, round_seed, stats.clone());
                let faults = Faults::for_cluster(&cluster, &[KILLED_REPLICA]);
                let (workload_after, violations) = round.run(faults).await;
                assert!(
                    violations.is_empty(),
                    "{SEED}={round_seed}:\n{}",
                    violations.join("\n")
                );
                samples.take(&cluster.suite, begin, true).await;
                warm_up_end = warm_up_end.or(Some(begin.elapsed()));
                println!("round {n} after {:.0} s", begin.elapsed().as_secs_f64());
                workload = workload_after;
                workload.renew_tokens().await;
                workload.replace_custom_chats(&SIZE).await;
                workload.replace_revocable(&SIZE).await;
            }
            done.cancel();
            // The warm-up ends after the first round and after a third of the duration.
            warm_up_end
                .unwrap_or_default()
                .max(begin.elapsed() / 3)
                .as_secs_f64()
        };
        let ((), warm_up_end) = tokio::join!(sample, run_rounds);
        println!("{stats}");
        let mut violations = Vec::new();
        for (name, process_stats) in &*samples.0.lock().unwrap_or_else(PoisonError::into_inner) {
            let growth = process_stats.report(name, warm_up_end);
            if *name != KILLED_REPLICA {
                violations.extend(growth);
            }
        }
        cluster.suite.stop().await;
        cluster.database.stop().await;
        assert!(violations.is_empty(), "{}", violations.join("\n"));
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ten minutes of samples, of which the first is ignored.
    fn violations(kib_a_minute: f64, without_streams: &[usize]) -> Vec<String> {
        let noise = |at: u32| f64::from(at % 7) * 512.0;
        let memory = (0..600).map(|at| {
            let missing_kib = if at < 60 {
                60_000.0 * f64::from(60 - at) / 60.0
            } else {
                0.0
            };
            let kib = 60_000.0 - missing_kib + noise(at) + kib_a_minute * f64::from(at) / 60.0;
            (f64::from(at), kib)
        });
        let process_stats = ProcessStats {
            memory: memory.collect(),
            without_streams: without_streams.to_vec(),
            max_descriptors: 90,
        };
        process_stats.report("chat", 60.0)
    }

    #[test]
    fn growth_is_reported_and_warm_up_and_noise_are_ignored() {
        assert_eq!(violations(0.0, &[10, 20, 28, 19, 31]), [""; 0]);
        assert_eq!(violations(2_000.0, &[10, 20]), [""; 0]);
        assert_eq!(violations(4_000.0, &[10, 20]).len(), 1);
        assert_eq!(violations(0.0, &[10, 20, 30, 40, 50]).len(), 1);
        let one_more_per_round: Vec<usize> = (10..40).collect();
        assert_eq!(violations(0.0, &one_more_per_round).len(), 1);
    }
}
