//! Rounds of measurements: the variants of a case take turns, and rounds with unequal noise are dropped.
use std::{
    collections::BTreeMap,
    fs::File,
    io::{Seek as _, Write as _},
    path::Path,
    time::{Duration, Instant},
};

use futures::future::LocalBoxFuture;

use crate::{
    Options,
    flame::{self, Recording},
};

/// The results of one variant in one round, by metric.
pub(crate) type Numbers = BTreeMap<&'static str, f64>;

/// One of the systems that a case compares: Parta, a baseline or a competitor.
pub(crate) struct Variant<'a> {
    pub(crate) name: &'static str,
    pub(crate) run: Box<dyn FnMut() -> LocalBoxFuture<'a, anyhow::Result<Numbers>> + 'a>,
}

impl<'a> Variant<'a> {
    pub(crate) fn new<F>(name: &'static str, mut run: impl FnMut() -> F + 'a) -> Self
    where
        F: Future<Output = anyhow::Result<Numbers>> + 'a,
    {
        Self {
            name,
            run: Box::new(move || Box::pin(run())),
        }
    }
}

/// The required result of a comparison.
#[derive(Clone)]
pub(crate) struct Goal {
    /// Text of the goal in the table.
    pub(crate) text: &'static str,
    /// Variant and metric.
    pub(crate) measured: (&'static str, &'static str),
    /// Variant and metric to divide by. Without them the bound applies to the measured value itself.
    pub(crate) baseline: Option<(&'static str, &'static str)>,
    pub(crate) bound: Bound,
}

/// The limit of a measured value or ratio.
#[derive(Clone, Copy)]
pub(crate) enum Bound {
    AtLeast(f64),
    AtMost(f64),
}

impl Bound {
    pub(crate) fn is_met(self, value: f64) -> bool {
        match self {
            Self::AtLeast(bound) => value >= bound,
            Self::AtMost(bound) => value <= bound,
        }
    }
}

/// The rounds of one case.
#[derive(Default)]
pub(crate) struct Measured {
    /// The results of the valid rounds, by variant.
    pub(crate) variants: BTreeMap<&'static str, Vec<Numbers>>,
    pub(crate) dropped_rounds: usize,
    /// p50 of fdatasync before and after each valid round, in milliseconds.
    pub(crate) fdatasync_ms: Vec<(f64, f64)>,
    /// Share of the processors that other processes used: the largest of the variants, by valid round.
    pub(crate) other_cpu: Vec<f64>,
}

/// With fewer valid rounds no ratio is printed.
const MIN_ROUNDS: usize = 3;
/// A round is dropped if the time of fdatasync changed by more than this factor.
const MAX_FDATASYNC_CHANGE: f64 = 2.0;
/// A round is dropped if the share of the processors used by other processes differs more between variants.
const MAX_OTHER_CPU_SPREAD: f64 = 0.15;

impl Measured {
    pub(crate) fn median(&self, (variant, metric): (&str, &str)) -> Option<f64> {
        let rounds = self.variants.get(variant)?;
        let mut values: Vec<f64> = rounds.iter().filter_map(|n| n.get(metric)).copied().collect();
        if values.is_empty() {
            return None;
        }
        Some(median(&mut values))
    }

    /// Returns the ratio of the medians; `None` with too few valid rounds or if a variant was not measured.
    pub(crate) fn ratio(&self, goal: &Goal) -> Option<f64> {
        if self.fdatasync_ms.len() < MIN_ROUNDS {
            return None;
        }
        let measured = self.median(goal.measured)?;
        match goal.baseline {
            None => Some(measured),
            Some(baseline) => Some(measured / self.median(baseline)?).filter(|r| r.is_finite()),
        }
    }
}

pub(crate) fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

/// Returns the value that `share` of the sorted values do not exceed.
pub(crate) fn quantile(sorted: &[u32], share: f64) -> f64 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "an index of the list"
    )]
    let index = (sorted.len().saturating_sub(1) as f64 * share) as usize;
    sorted.get(index).copied().map_or(0.0, f64::from)
}

/// Runs rounds of all variants until `options.rounds` of them are valid, at most twice that number.
pub(crate) async fn run_rounds(
    options: &Options,
    folder: &Path,
    machine: &Machine,
    variants: &mut [Variant<'_>],
) -> anyhow::Result<Measured> {
    let rounds = options.rounds;
    let mut measured = Measured::default();
    for round in 0..rounds * 2 {
        if measured.fdatasync_ms.len() == rounds {
            break;
        }
        let before = fdatasync(folder)?;
        let mut results = Vec::new();
        let mut other_cpu: Vec<f64> = Vec::new();
        let count = variants.len();
        for n in 0..count {
            // Each round begins with another variant, so that no variant always runs after the same one.
            let variant = &mut variants[(n + round) % count];
            let begin = machine.sample_cpu();
            let numbers = (variant.run)().await?;
            println!(
                "bench: round {}: {} {}",
                round + 1,
                variant.name,
                format_numbers(&numbers)
            );
            other_cpu.push(machine.sample_cpu().other_cpu_since(&begin));
            results.push((variant.name, numbers));
        }
        let after = fdatasync(folder)?;
        let least = other_cpu.iter().copied().fold(f64::INFINITY, f64::min);
        let most = other_cpu.iter().copied().fold(0.0, f64::max);
        let fdatasync_change = (before / after).max(after / before);
        if fdatasync_change > MAX_FDATASYNC_CHANGE || most - least > MAX_OTHER_CPU_SPREAD {
            measured.dropped_rounds += 1;
            continue;
        }
        measured.fdatasync_ms.push((before, after));
        measured.other_cpu.push(most);
        for (name, numbers) in results {
            measured.variants.entry(name).or_default().push(numbers);
        }
    }
    if let Some(graphs) = &options.flame {
        for variant in variants {
            let recording = Recording::start(&machine.servers())?;
            let numbers = (variant.run)().await?;
            let title = format!("{}, {}, {}", options.case, variant.name, format_numbers(&numbers));
            recording.draw(&title, &flame::path(graphs, options.case, variant.name))?;
        }
    }
    Ok(measured)
}

/// Formats results as one line.
fn format_numbers(numbers: &Numbers) -> String {
    let each = numbers
        .iter()
        .map(|(metric, value)| format!("{metric} {value:.3}"));
    each.collect::<Vec<_>>().join(", ")
}

/// Measures the p50 of a write of 8 KiB with fdatasync, in milliseconds.
pub(crate) fn fdatasync(folder: &Path) -> anyhow::Result<f64> {
    let mut file = tempfile::tempfile_in(folder)?;
    let mut times: Vec<f64> = (0..80)
        .map(|_| write_and_sync(&mut file))
        .collect::<std::io::Result<_>>()?;
    Ok(median(&mut times))
}

fn write_and_sync(file: &mut File) -> std::io::Result<f64> {
    let begin = Instant::now();
    file.rewind()?;
    file.write_all(&[7; 8192])?;
    file.sync_data()?;
    Ok(begin.elapsed().as_secs_f64() * 1e3)
}

/// The processes that belong to the measurement: this process, its children, and PostgreSQL, which is not a
/// child.
#[derive(Clone, Default)]
pub(crate) struct Machine {
    pub(crate) postmaster: Option<u32>,
}

/// The unit of processor time in `/proc`.
const TICKS_PER_SECOND: f64 = 100.0;

/// Processor time used so far, in ticks.
pub(crate) struct CpuSample {
    at: Instant,
    /// Of all processes of the machine.
    total: f64,
    /// Of the processes of the measurement.
    measured: f64,
}

impl CpuSample {
    /// Returns the share of all processors that other processes used since `begin`.
    fn other_cpu_since(&self, begin: &Self) -> f64 {
        let wall = self.at.duration_since(begin.at).as_secs_f64() * TICKS_PER_SECOND;
        let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
        let all = wall * processors as f64;
        (((self.total - begin.total) - (self.measured - begin.measured)) / all).clamp(0.0, 1.0)
    }
}

impl Machine {
    /// Returns the ids of the server processes: the children of this process and PostgreSQL with its
    /// children.
    fn servers(&self) -> Vec<u32> {
        let own = children(std::process::id());
        let database = self.postmaster.into_iter().flat_map(|id| {
            let mut all = children(id);
            all.push(id);
            all
        });
        // `perf` fails to start if one of its processes has ended, as autovacuum workers do at any time.
        let is_short_lived = |id: &u32| {
            std::fs::read_to_string(format!("/proc/{id}/cmdline"))
                .map_or(true, |line| line.contains("autovacuum worker"))
        };
        own.into_iter()
            .chain(database)
            .filter(|id| !is_short_lived(id))
            .collect()
    }

    fn sample_cpu(&self) -> CpuSample {
        CpuSample {
            at: Instant::now(),
            total: total_ticks(),
            measured: ticks(std::process::id()) + self.postmaster.map_or(0.0, ticks),
        }
    }
}

fn total_ticks() -> f64 {
    let stat = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    let fields = stat.lines().next().unwrap_or_default();
    let fields: Vec<f64> = fields
        .split_whitespace()
        .skip(1)
        .filter_map(|f| f.parse().ok())
        .collect();
    // user, nice, system, then after idle and iowait: irq, softirq, steal.
    [0, 1, 2, 5, 6, 7].iter().filter_map(|n| fields.get(*n)).sum()
}

/// Returns the parent of a process, and its processor time with that of its ended children, in ticks.
fn stat(id: u32) -> Option<(u32, f64)> {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    let fields: Vec<&str> = stat.rsplit_once(") ")?.1.split(' ').collect();
    let parent = fields.get(1)?.parse().ok()?;
    // The fields follow the name: utime, stime, cutime and cstime stand at 11 to 14.
    Some((
        parent,
        (11..15).filter_map(|n| fields.get(n)?.parse::<f64>().ok()).sum(),
    ))
}

/// Returns the processor time of a process and its children, in ticks.
fn ticks(id: u32) -> f64 {
    let all = children(id).into_iter().chain([id]).filter_map(stat);
    all.map(|(_, time)| time).sum()
}

fn children(id: u32) -> Vec<u32> {
    std::fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|child| stat(*child).is_some_and(|(parent, _)| parent == id))
        .collect()
}

/// Returns the processor time of these processes and their children.
pub(crate) fn cpu(ids: &[u32]) -> Duration {
    Duration::from_secs_f64(ids.iter().map(|id| ticks(*id)).sum::<f64>() / TICKS_PER_SECOND)
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    fn measured(rounds: usize) -> Measured {
        let numbers = |value| (0..rounds).map(|_| Numbers::from([("rate", value)])).collect();
        Measured {
            variants: BTreeMap::from([("parta", numbers(300.0)), ("baseline", numbers(400.0))]),
            fdatasync_ms: vec![(1.0, 1.1); rounds],
            ..Measured::default()
        }
    }

    const GOAL: Goal = Goal {
        text: "",
        measured: ("parta", "rate"),
        baseline: Some(("baseline", "rate")),
        bound: Bound::AtLeast(0.5),
    };

    #[test]
    fn ratio_is_none_with_too_few_valid_rounds() {
        assert_eq!(measured(2).ratio(&GOAL), None);
        assert_eq!(measured(3).ratio(&GOAL), Some(0.75));
    }

    #[test]
    fn ratio_is_none_when_a_variant_was_not_measured() {
        let competitor = Goal {
            baseline: Some(("ejabberd", "rate")),
            ..GOAL
        };
        assert_eq!(measured(5).ratio(&competitor), None);
    }

    #[test]
    fn rounds_with_unequal_noise_are_dropped_and_repeated() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let mut calls = 0;
        let measured = runtime.block_on(async {
            let mut variants = [Variant::new("parta", || {
                calls += 1;
                async { Ok(Numbers::from([("rate", 1.0)])) }
            })];
            let options = ["bench", "send1", "--program", "parta", "--rounds", "3"];
            let options = Options::parse_from(options);
            run_rounds(&options, folder.path(), &Machine::default(), &mut variants)
                .await
                .unwrap()
        });
        assert_eq!(calls, measured.fdatasync_ms.len() + measured.dropped_rounds);
    }

    #[test]
    fn quantile_returns_an_element_of_the_sorted_list() {
        let sorted: Vec<u32> = (0..=100).collect();
        assert_eq!(quantile(&sorted, 0.5), 50.0);
        assert_eq!(quantile(&sorted, 0.99), 99.0);
        assert_eq!(quantile(&[], 0.5), 0.0);
    }

    /// If a process is counted twice, the time of other processes is underestimated.
    #[test]
    fn cpu_time_of_a_child_process_is_counted_once() {
        let machine = Machine::default();
        let before = machine.sample_cpu();
        let mut child = std::process::Command::new("sh")
            .args(["-c", "while :; do :; done"])
            .spawn()
            .unwrap();
        while ticks(child.id()) < 50.0 {
            assert!(
                before.at.elapsed() < Duration::from_secs(30),
                "the child process does not run"
            );
        }
        let (own, counted) = (stat(std::process::id()).unwrap().1, machine.sample_cpu().measured);
        let child_ticks = ticks(child.id());
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(
            counted >= own + 50.0 && counted <= own + child_ticks + 20.0,
            "counted {counted}, own {own}, child {child_ticks}"
        );
    }

    #[test]
    fn cpu_time_of_this_process_increases() {
        let id = [std::process::id()];
        let (begin, before) = (Instant::now(), cpu(&id));
        // This loop uses processor time itself, so it ends even on a busy machine.
        while cpu(&id) - before < Duration::from_millis(30) {
            assert!(
                begin.elapsed() < Duration::from_secs(30),
                "the processor time does not increase"
            );
        }
    }
}
