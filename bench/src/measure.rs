//! How a number is taken: sides in turns, the disk probed before and after, and no ratio where the noise
//! was unequal.
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

/// The numbers of one side in one round, by metric.
pub(crate) type Numbers = BTreeMap<&'static str, f64>;

/// One of those that are compared.
pub(crate) struct Side<'a> {
    pub(crate) name: &'static str,
    pub(crate) run: Box<dyn FnMut() -> LocalBoxFuture<'a, anyhow::Result<Numbers>> + 'a>,
}

impl<'a> Side<'a> {
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

/// A comparison that a case is held to.
#[derive(Clone)]
pub(crate) struct Goal {
    /// In words, for the table.
    pub(crate) text: &'static str,
    pub(crate) ours: (&'static str, &'static str),
    /// None: the number itself is held to the factor.
    pub(crate) against: Option<(&'static str, &'static str)>,
    pub(crate) bound: Bound,
}

/// Which way a goal points.
#[derive(Clone, Copy)]
pub(crate) enum Bound {
    AtLeast(f64),
    AtMost(f64),
}

impl Bound {
    pub(crate) fn holds(self, value: f64) -> bool {
        match self {
            Self::AtLeast(bound) => value >= bound,
            Self::AtMost(bound) => value <= bound,
        }
    }
}

/// The rounds of one case.
#[derive(Default)]
pub(crate) struct Measured {
    /// By side, the numbers of the rounds that count.
    pub(crate) sides: BTreeMap<&'static str, Vec<Numbers>>,
    pub(crate) dropped: usize,
    /// p50 of fdatasync before and after each round that counts, in milliseconds.
    pub(crate) disk: Vec<(f64, f64)>,
    /// Share of the processors that went to others, each round's worst side.
    pub(crate) others: Vec<f64>,
}

/// Fewer rounds than these prove nothing.
const ROUNDS: usize = 3;
/// A disk that became so many times slower or faster within a round was another disk.
const DISK: f64 = 2.0;
/// Sides of one round may differ by this share of the processors in what others took.
const OTHERS: f64 = 0.15;

impl Measured {
    pub(crate) fn median(&self, (side, metric): (&str, &str)) -> Option<f64> {
        let rounds = self.sides.get(side)?;
        let mut values: Vec<f64> = rounds.iter().filter_map(|n| n.get(metric)).copied().collect();
        if values.is_empty() {
            return None;
        }
        Some(median(&mut values))
    }

    /// The ratio of the medians; none where too few rounds were quiet, or a side was not measured.
    pub(crate) fn ratio(&self, goal: &Goal) -> Option<f64> {
        if self.disk.len() < ROUNDS {
            return None;
        }
        let ours = self.median(goal.ours)?;
        match goal.against {
            None => Some(ours),
            Some(other) => Some(ours / self.median(other)?).filter(|r| r.is_finite()),
        }
    }
}

pub(crate) fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

/// The value that this share of the sorted values does not exceed.
pub(crate) fn quantile(sorted: &[u32], share: f64) -> f64 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a place in a list"
    )]
    let at = (sorted.len().saturating_sub(1) as f64 * share) as usize;
    sorted.get(at).copied().map_or(0.0, f64::from)
}

/// Runs the sides in turns, until so many rounds count or twice as many were tried.
pub(crate) async fn alternate(
    options: &Options,
    folder: &Path,
    machine: &Machine,
    sides: &mut [Side<'_>],
) -> anyhow::Result<Measured> {
    let rounds = options.rounds;
    let mut measured = Measured::default();
    for round in 0..rounds * 2 {
        if measured.disk.len() == rounds {
            break;
        }
        let before = fdatasync(folder)?;
        let mut taken = Vec::new();
        let mut others: Vec<f64> = Vec::new();
        let count = sides.len();
        for n in 0..count {
            // Each round begins with another side, so that none always runs on what the one before left.
            let side = &mut sides[(n + round) % count];
            let begin = machine.look();
            let numbers = (side.run)().await?;
            println!("bench: round {}: {} {}", round + 1, side.name, told(&numbers));
            others.push(machine.look().others_since(&begin));
            taken.push((side.name, numbers));
        }
        let after = fdatasync(folder)?;
        let least = others.iter().copied().fold(f64::INFINITY, f64::min);
        let most = others.iter().copied().fold(0.0, f64::max);
        if before / after > DISK || after / before > DISK || most - least > OTHERS {
            measured.dropped += 1;
            continue;
        }
        measured.disk.push((before, after));
        measured.others.push(most);
        for (name, numbers) in taken {
            measured.sides.entry(name).or_default().push(numbers);
        }
    }
    if let Some(graphs) = &options.flame {
        for side in sides {
            let recording = Recording::start(&machine.servers())?;
            let numbers = (side.run)().await?;
            let title = format!("{}, {}, {}", options.case, side.name, told(&numbers));
            recording.draw(&title, &flame::path(graphs, options.case, side.name))?;
        }
    }
    Ok(measured)
}

/// The numbers of a side in one line.
fn told(numbers: &Numbers) -> String {
    let each = numbers
        .iter()
        .map(|(metric, value)| format!("{metric} {value:.3}"));
    each.collect::<Vec<_>>().join(", ")
}

/// p50 of a write of 8 KiB and its flush, in milliseconds.
pub(crate) fn fdatasync(folder: &Path) -> anyhow::Result<f64> {
    let mut file = tempfile::tempfile_in(folder)?;
    let mut times: Vec<f64> = (0..80)
        .map(|_| flush(&mut file))
        .collect::<std::io::Result<_>>()?;
    Ok(median(&mut times))
}

fn flush(file: &mut File) -> std::io::Result<f64> {
    let begin = Instant::now();
    file.rewind()?;
    file.write_all(&[7; 8192])?;
    file.sync_data()?;
    Ok(begin.elapsed().as_secs_f64() * 1e3)
}

/// Whose processor time belongs to the measurement: this process with all that it started, and PostgreSQL,
/// which it did not.
#[derive(Clone, Default)]
pub(crate) struct Machine {
    pub(crate) postmaster: Option<u32>,
}

/// Processor time so far, in ticks of 10 ms.
pub(crate) struct Look {
    at: Instant,
    busy: f64,
    ours: f64,
}

impl Look {
    /// The share of all processors that others took.
    fn others_since(&self, begin: &Self) -> f64 {
        let wall = self.at.duration_since(begin.at).as_secs_f64() * 100.0;
        let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        #[expect(clippy::cast_precision_loss, reason = "a handful")]
        let all = wall * processors as f64;
        (((self.busy - begin.busy) - (self.ours - begin.ours)) / all).clamp(0.0, 1.0)
    }
}

impl Machine {
    /// The processes that serve: all that this one started, and those of PostgreSQL.
    fn servers(&self) -> Vec<u32> {
        let own = children(std::process::id());
        let database = self.postmaster.into_iter().flat_map(|id| {
            let mut all = children(id);
            all.push(id);
            all
        });
        // Those end when they like, and the sampler does not begin where one of its processes has ended.
        let short = |id: &u32| {
            std::fs::read_to_string(format!("/proc/{id}/cmdline"))
                .map_or(true, |line| line.contains("autovacuum worker"))
        };
        own.into_iter().chain(database).filter(|id| !short(id)).collect()
    }

    fn look(&self) -> Look {
        Look {
            at: Instant::now(),
            busy: busy(),
            ours: ticks(std::process::id()) + self.postmaster.map_or(0.0, ticks),
        }
    }
}

fn busy() -> f64 {
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

/// Parent, and processor time with that of children that have ended.
fn stat(id: u32) -> Option<(u32, f64)> {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    let fields: Vec<&str> = stat.rsplit_once(") ")?.1.split(' ').collect();
    let parent = fields.get(1)?.parse().ok()?;
    Some((
        parent,
        (11..15).filter_map(|n| fields.get(n)?.parse::<f64>().ok()).sum(),
    ))
}

/// Processor time of a process and its children, in ticks of 10 ms.
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

/// Processor time of a process and its children.
pub(crate) fn cpu(ids: &[u32]) -> Duration {
    Duration::from_secs_f64(ids.iter().map(|id| ticks(*id)).sum::<f64>() / 100.0)
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    fn measured(rounds: usize) -> Measured {
        let numbers = |value| (0..rounds).map(|_| Numbers::from([("rate", value)])).collect();
        Measured {
            sides: BTreeMap::from([("ours", numbers(300.0)), ("limit", numbers(400.0))]),
            disk: vec![(1.0, 1.1); rounds],
            ..Measured::default()
        }
    }

    const GOAL: Goal = Goal {
        text: "",
        ours: ("ours", "rate"),
        against: Some(("limit", "rate")),
        bound: Bound::AtLeast(0.5),
    };

    #[test]
    fn too_few_quiet_rounds_give_no_ratio() {
        assert_eq!(measured(2).ratio(&GOAL), None);
        assert_eq!(measured(3).ratio(&GOAL), Some(0.75));
    }

    #[test]
    fn a_side_that_was_not_measured_gives_no_ratio() {
        let peer = Goal {
            against: Some(("ejabberd", "rate")),
            ..GOAL
        };
        assert_eq!(measured(5).ratio(&peer), None);
    }

    #[test]
    fn rounds_with_unequal_noise_are_dropped_and_repeated() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let mut calls = 0;
        let measured = runtime.block_on(async {
            let mut sides = [Side::new("ours", || {
                calls += 1;
                async { Ok(Numbers::from([("rate", 1.0)])) }
            })];
            let options = ["bench", "send1", "--program", "parta", "--rounds", "3"];
            let options = Options::parse_from(options);
            alternate(&options, folder.path(), &Machine::default(), &mut sides)
                .await
                .unwrap()
        });
        assert_eq!(calls, measured.disk.len() + measured.dropped);
    }

    #[test]
    fn quantiles_are_places_of_the_sorted_list() {
        let sorted: Vec<u32> = (0..=100).collect();
        assert_eq!(quantile(&sorted, 0.5), 50.0);
        assert_eq!(quantile(&sorted, 0.99), 99.0);
        assert_eq!(quantile(&[], 0.5), 0.0);
    }

    /// A process that is counted twice makes others look idle, and unequal noise look equal.
    #[test]
    fn the_time_of_what_this_process_started_is_counted_once() {
        let machine = Machine::default();
        let before = machine.look();
        let mut child = std::process::Command::new("sh")
            .args(["-c", "while :; do :; done"])
            .spawn()
            .unwrap();
        while ticks(child.id()) < 50.0 {
            assert!(before.at.elapsed() < Duration::from_secs(30), "it does not run");
        }
        let (own, told) = (stat(std::process::id()).unwrap().1, machine.look().ours);
        let child_ticks = ticks(child.id());
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(
            told >= own + 50.0 && told <= own + child_ticks + 20.0,
            "{told} of {own} and {child_ticks}"
        );
    }

    #[test]
    fn the_time_of_this_process_is_found() {
        let id = [std::process::id()];
        let (begin, before) = (Instant::now(), cpu(&id));
        // However little of the processors others leave to it, some of this work is counted in the end.
        while cpu(&id) - before < Duration::from_millis(30) {
            assert!(begin.elapsed() < Duration::from_secs(30), "the time stands still");
        }
    }
}
