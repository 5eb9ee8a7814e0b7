//! The results, for people and for programs.
use std::{collections::BTreeMap, fmt::Write as _, path::Path};

use anyhow::Context as _;
use serde_json::{Value, json};

use crate::{
    Database, Options,
    cases::Case,
    competitors::Peer,
    measure::{Bound, Goal, Measured, median},
};

/// One case, summed up.
pub(crate) struct Result {
    case: &'static str,
    database: &'static str,
    rounds: usize,
    dropped: usize,
    disk: (f64, f64),
    others: f64,
    sides: BTreeMap<&'static str, BTreeMap<&'static str, f64>>,
    goals: Vec<Held>,
}

struct Held {
    text: &'static str,
    /// None: the noise was unequal, or a side was not measured.
    value: Option<f64>,
    bound: Bound,
}

impl Result {
    /// The result of a case. Goals against peers that were not asked for are left out.
    pub(crate) fn of(case: &Case, database: Database, peers: &[Peer], measured: &Measured) -> Self {
        let sides = measured.sides.iter().map(|(name, rounds)| {
            let metrics = rounds.iter().flat_map(|n| n.keys().copied());
            let of = |metric| Some((metric, measured.median((name, metric))?));
            (*name, metrics.filter_map(of).collect())
        });
        let disk = |of: fn(&(f64, f64)) -> f64| median(&mut measured.disk.iter().map(of).collect::<Vec<_>>());
        Self {
            case: case.name,
            database: match database {
                Database::Postgres => "postgres",
                Database::Sqlite => "sqlite",
            },
            rounds: measured.disk.len(),
            dropped: measured.dropped,
            disk: (disk(|d| d.0), disk(|d| d.1)),
            others: measured.others.iter().copied().fold(0.0, f64::max),
            sides: sides.collect(),
            goals: case
                .goals
                .iter()
                .filter(|goal| asked(goal, peers))
                .map(|goal| Held {
                    text: goal.text,
                    value: measured.ratio(goal),
                    bound: goal.bound,
                })
                .collect(),
        }
    }

    /// One line.
    pub(crate) fn json(&self) -> Value {
        let goal = |held: &Held| {
            let holds = held.value.map(|value| held.bound.holds(value));
            json!({"goal": held.text, "value": held.value.map(round), "holds": holds})
        };
        let sides: BTreeMap<_, BTreeMap<_, _>> = self
            .sides
            .iter()
            .map(|(name, metrics)| (name, metrics.iter().map(|(k, v)| (k, round(*v))).collect()))
            .collect();
        json!({
            "case": self.case, "database": self.database, "rounds": self.rounds, "dropped_rounds": self.dropped,
            "fdatasync_p50_ms": [round(self.disk.0), round(self.disk.1)], "cpu_share_of_others": round(self.others),
            "sides": sides, "goals": self.goals.iter().map(goal).collect::<Vec<_>>(),
        })
    }
}

/// Whether a goal is against nobody, against a limit, or against a peer that was asked for.
fn asked(goal: &Goal, peers: &[Peer]) -> bool {
    let peer = goal.against.and_then(|(side, _)| Peer::of_side(side));
    peer.is_none_or(|peer| peers.contains(&peer))
}

/// Three significant digits are more than these machines know.
fn round(value: f64) -> f64 {
    if value == 0.0 || !value.is_finite() {
        return 0.0;
    }
    let scale = 10_f64.powf(2.0 - value.abs().log10().floor());
    (value * scale).round() / scale
}

fn told(bound: Bound) -> String {
    match bound {
        Bound::AtLeast(value) => format!(">= {value}"),
        Bound::AtMost(value) => format!("<= {value}"),
    }
}

/// The goals of every case, as a table in Markdown.
pub(crate) fn table(results: &[Result]) -> String {
    let mut text =
        String::from("| case | database | what | measured | goal | holds |\n|---|---|---|---|---|---|\n");
    for result in results {
        for held in &result.goals {
            let (value, holds) = match held.value {
                Some(value) if held.bound.holds(value) => (round(value).to_string(), "yes"),
                Some(value) => (round(value).to_string(), "no"),
                None => ("-".to_owned(), "not measured"),
            };
            let _infallible = writeln!(
                text,
                "| {} | {} | {} | {value} | {} | {holds} |",
                result.case,
                result.database,
                held.text,
                told(held.bound)
            );
        }
    }
    text
}

/// The medians of every side, as a table in Markdown.
fn sides(results: &[Result]) -> String {
    let mut text = String::from(
        "| case | database | side | medians | rounds (dropped) | others' CPU |\n|---|---|---|---|---|---|\n",
    );
    for result in results {
        for (side, metrics) in &result.sides {
            let metrics: Vec<_> = metrics
                .iter()
                .map(|(name, value)| format!("{name} {}", round(*value)))
                .collect();
            let _infallible = writeln!(
                text,
                "| {} | {} | {side} | {} | {} ({}) | {} |",
                result.case,
                result.database,
                metrics.join(", "),
                result.rounds,
                result.dropped,
                round(result.others)
            );
        }
    }
    text
}

/// One bar a goal: how far it is reached, the line at 1 is the goal.
fn chart(results: &[Result]) -> String {
    const ROW: usize = 22;
    let bars: Vec<(String, f64)> = results
        .iter()
        .flat_map(|r| r.goals.iter().map(move |g| (r, g)))
        .filter_map(|(result, held)| {
            let value = held.value?;
            let reached = match held.bound {
                Bound::AtLeast(goal) => value / goal,
                Bound::AtMost(goal) => goal / value.max(f64::MIN_POSITIVE),
            };
            Some((
                format!("{} ({}): {}", result.case, result.database, held.text),
                reached,
            ))
        })
        .collect();
    let height = bars.len() * ROW + 50;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 1200 {height}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"1200\" height=\"{height}\" fill=\"#ffffff\"/>\n\
         <text x=\"10\" y=\"20\" font-size=\"14\">How far each goal is reached (logarithmic; the line is the goal)</text>\n"
    );
    // A tenth of the goal to ten times it.
    let place = |reached: f64| 900.0 + 200.0 * reached.clamp(0.1, 10.0).log10();
    for (n, (label, reached)) in bars.iter().enumerate() {
        let y = 36 + n * ROW;
        let color = if *reached >= 1.0 { "#3a7d44" } else { "#b5502f" };
        let label = label
            .replace('&', "&amp;")
            .replace('<', "&lt;")
            .replace('>', "&gt;");
        let _infallible = writeln!(
            svg,
            "<text x=\"10\" y=\"{}\">{label}</text><rect x=\"700\" y=\"{}\" width=\"{:.0}\" height=\"14\" fill=\"{color}\"/>\
             <text x=\"{:.0}\" y=\"{}\">{}</text>",
            y + 12,
            y + 1,
            place(*reached) - 700.0,
            place(*reached) + 6.0,
            y + 12,
            round(*reached)
        );
    }
    let _infallible = writeln!(
        svg,
        "<line x1=\"900\" y1=\"30\" x2=\"900\" y2=\"{}\" stroke=\"#222222\" stroke-dasharray=\"4 3\"/>\n</svg>",
        height - 10
    );
    svg
}

const BEGIN: &str = "<!-- measured: begin -->";
const END: &str = "<!-- measured: end -->";

/// Writes the measured part of performance.md and the chart beside it.
pub(crate) fn write(folder: &Path, options: &Options, results: &[Result]) -> anyhow::Result<()> {
    let file = folder.join("performance.md");
    let text = std::fs::read_to_string(&file).with_context(|| file.display().to_string())?;
    let (head, rest) = text.split_once(BEGIN).context("no place for what was measured")?;
    let (_, tail) = rest.split_once(END).context("no end of what was measured")?;
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let measured = format!(
        "{BEGIN}\nMeasured on {processors} processors that client, server and database share: the suite in one process, \
         {} rounds of {} s a side.\n\n{}\n![How far each goal is reached](performance.svg)\n\n{}{END}",
        options.rounds,
        options.seconds,
        table(results),
        sides(results)
    );
    std::fs::write(&file, format!("{head}{measured}{tail}"))?;
    std::fs::write(folder.join("performance.svg"), chart(results))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_three_digits() {
        assert_eq!(round(12_345.0), 12_300.0);
        assert_eq!(round(0.012_345), 0.012_3);
        assert_eq!(round(0.0), 0.0);
    }

    #[test]
    fn a_goal_against_a_peer_is_told_where_that_was_asked_for() {
        let goal = |side| Goal {
            text: "",
            ours: ("ours", "rate"),
            against: Some((side, "rate")),
            bound: Bound::AtLeast(5.0),
        };
        assert!(asked(&goal("pgbench"), &[]));
        assert!(!asked(&goal("ejabberd"), &[Peer::Prosody]));
        assert!(asked(&goal("ejabberd"), &[Peer::Ejabberd]));
    }

    #[test]
    fn what_was_not_measured_is_said() {
        let result = Result {
            case: "send1",
            database: "postgres",
            rounds: 0,
            dropped: 10,
            disk: (0.0, 0.0),
            others: 0.0,
            sides: BTreeMap::new(),
            goals: vec![Held {
                text: "rate",
                value: None,
                bound: Bound::AtLeast(0.6),
            }],
        };
        assert!(table(&[result]).contains("| rate | - | >= 0.6 | not measured |"));
    }
}
