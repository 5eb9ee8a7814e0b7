//! Formats the results as JSON, as tables in Markdown and as a chart.
use std::{collections::BTreeMap, fmt::Write as _, path::Path};

use anyhow::Context as _;
use serde_json::{Value, json};

use crate::{
    Database, Options,
    cases::Case,
    competitors::Competitor,
    measure::{Bound, Goal, Measured, median},
};

/// The summary of one case.
pub(crate) struct Result {
    case: &'static str,
    database: &'static str,
    rounds: usize,
    dropped_rounds: usize,
    /// Median p50 of fdatasync before and after a round, in milliseconds.
    fdatasync_ms: (f64, f64),
    /// Largest share of the processors that other processes used.
    other_cpu: f64,
    variants: BTreeMap<&'static str, BTreeMap<&'static str, f64>>,
    goals: Vec<GoalResult>,
}

struct GoalResult {
    text: &'static str,
    /// `None` if too few rounds were valid or a variant was not measured.
    value: Option<f64>,
    bound: Bound,
}

impl Result {
    /// Summarizes a case. Goals that compare with an unselected competitor are omitted.
    pub(crate) fn new(
        case: &Case,
        database: Database,
        competitors: &[Competitor],
        measured: &Measured,
    ) -> Self {
        let variants = measured.variants.iter().map(|(name, rounds)| {
            let metrics = rounds.iter().flat_map(|n| n.keys().copied());
            let median = |metric| Some((metric, measured.median((name, metric))?));
            (*name, metrics.filter_map(median).collect())
        });
        let fdatasync = |select: fn(&(f64, f64)) -> f64| {
            median(&mut measured.fdatasync_ms.iter().map(select).collect::<Vec<_>>())
        };
        Self {
            case: case.name,
            database: match database {
                Database::Postgres => "postgres",
                Database::Sqlite => "sqlite",
            },
            rounds: measured.fdatasync_ms.len(),
            dropped_rounds: measured.dropped_rounds,
            fdatasync_ms: (fdatasync(|d| d.0), fdatasync(|d| d.1)),
            other_cpu: measured.other_cpu.iter().copied().fold(0.0, f64::max),
            variants: variants.collect(),
            goals: case
                .goals
                .iter()
                .filter(|goal| is_selected(goal, competitors))
                .map(|goal| GoalResult {
                    text: goal.text,
                    value: measured.ratio(goal),
                    bound: goal.bound,
                })
                .collect(),
        }
    }

    /// Returns the summary as one line of JSON.
    pub(crate) fn json(&self) -> Value {
        let goal = |goal: &GoalResult| {
            let is_met = goal.value.map(|value| goal.bound.is_met(value));
            json!({"goal": goal.text, "value": goal.value.map(round), "met": is_met})
        };
        let variants: BTreeMap<_, BTreeMap<_, _>> = self
            .variants
            .iter()
            .map(|(name, metrics)| (name, metrics.iter().map(|(k, v)| (k, round(*v))).collect()))
            .collect();
        json!({
            "case": self.case, "database": self.database, "rounds": self.rounds, "dropped_rounds": self.dropped_rounds,
            "fdatasync_p50_ms": [round(self.fdatasync_ms.0), round(self.fdatasync_ms.1)], "cpu_share_of_others": round(self.other_cpu),
            "variants": variants, "goals": self.goals.iter().map(goal).collect::<Vec<_>>(),
        })
    }
}

/// Returns false for a goal that compares with a competitor that is not selected.
fn is_selected(goal: &Goal, competitors: &[Competitor]) -> bool {
    let competitor = goal
        .baseline
        .and_then(|(variant, _)| Competitor::for_variant(variant));
    competitor.is_none_or(|competitor| competitors.contains(&competitor))
}

/// Rounds to three significant digits. The measurements are not more precise.
fn round(value: f64) -> f64 {
    if value == 0.0 || !value.is_finite() {
        return 0.0;
    }
    let scale = 10_f64.powf(2.0 - value.abs().log10().floor());
    (value * scale).round() / scale
}

fn format_bound(bound: Bound) -> String {
    match bound {
        Bound::AtLeast(value) => format!(">= {value}"),
        Bound::AtMost(value) => format!("<= {value}"),
    }
}

/// Returns the goals of every case as a table in Markdown.
pub(crate) fn table(results: &[Result]) -> String {
    let mut text =
        String::from("| case | database | measure | measured | goal | met |\n|---|---|---|---|---|---|\n");
    for result in results {
        for goal in &result.goals {
            let (value, is_met) = match goal.value {
                Some(value) if goal.bound.is_met(value) => (round(value).to_string(), "yes"),
                Some(value) => (round(value).to_string(), "no"),
                None => ("-".to_owned(), "not measured"),
            };
            let _infallible = writeln!(
                text,
                "| {} | {} | {} | {value} | {} | {is_met} |",
                result.case,
                result.database,
                goal.text,
                format_bound(goal.bound)
            );
        }
    }
    text
}

/// Returns the medians of every variant as a table in Markdown.
fn variants(results: &[Result]) -> String {
    let mut text = String::from(
        "| case | database | variant | medians | rounds (dropped) | CPU of other processes |\n|---|---|---|---|---|---|\n",
    );
    for result in results {
        for (variant, metrics) in &result.variants {
            let metrics: Vec<_> = metrics
                .iter()
                .map(|(name, value)| format!("{name} {}", round(*value)))
                .collect();
            let _infallible = writeln!(
                text,
                "| {} | {} | {variant} | {} | {} ({}) | {} |",
                result.case,
                result.database,
                metrics.join(", "),
                result.rounds,
                result.dropped_rounds,
                round(result.other_cpu)
            );
        }
    }
    text
}

/// Draws one bar per goal: the ratio of the measured value to the goal. The line at 1 is the goal.
fn chart(results: &[Result]) -> String {
    const ROW: usize = 22;
    let bars: Vec<(String, f64)> = results
        .iter()
        .flat_map(|r| r.goals.iter().map(move |g| (r, g)))
        .filter_map(|(result, goal_result)| {
            let value = goal_result.value?;
            let reached = match goal_result.bound {
                Bound::AtLeast(goal) => value / goal,
                Bound::AtMost(goal) => goal / value.max(f64::MIN_POSITIVE),
            };
            Some((
                format!("{} ({}): {}", result.case, result.database, goal_result.text),
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
    // The axis reaches from a tenth of the goal to ten times the goal.
    let x = |reached: f64| 900.0 + 200.0 * reached.clamp(0.1, 10.0).log10();
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
            x(*reached) - 700.0,
            x(*reached) + 6.0,
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

/// Replaces the measured part of performance.md and writes the chart to the same folder.
pub(crate) fn write(folder: &Path, options: &Options, results: &[Result]) -> anyhow::Result<()> {
    let file = folder.join("performance.md");
    let text = std::fs::read_to_string(&file).with_context(|| file.display().to_string())?;
    let (head, rest) = text
        .split_once(BEGIN)
        .context("no begin marker of the measured part")?;
    let (_, tail) = rest
        .split_once(END)
        .context("no end marker of the measured part")?;
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let measured = format!(
        "{BEGIN}\nMeasured on {processors} processors that client, server and database share: Parta in one process, \
         {} rounds of {} s per variant.\n\n{}\n![How far each goal is reached](performance.svg)\n\n{}{END}",
        options.rounds,
        options.seconds,
        table(results),
        variants(results)
    );
    std::fs::write(&file, format!("{head}{measured}{tail}"))?;
    std::fs::write(folder.join("performance.svg"), chart(results))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_keeps_three_digits() {
        assert_eq!(round(12_345.0), 12_300.0);
        assert_eq!(round(0.012_345), 0.012_3);
        assert_eq!(round(0.0), 0.0);
    }

    #[test]
    fn goals_of_unselected_competitors_are_omitted() {
        let goal = |variant| Goal {
            text: "",
            measured: ("parta", "rate"),
            baseline: Some((variant, "rate")),
            bound: Bound::AtLeast(5.0),
        };
        assert!(is_selected(&goal("pgbench"), &[]));
        assert!(!is_selected(&goal("ejabberd"), &[Competitor::Prosody]));
        assert!(is_selected(&goal("ejabberd"), &[Competitor::Ejabberd]));
    }

    #[test]
    fn table_says_which_goals_were_not_measured() {
        let result = Result {
            case: "send1",
            database: "postgres",
            rounds: 0,
            dropped_rounds: 10,
            fdatasync_ms: (0.0, 0.0),
            other_cpu: 0.0,
            variants: BTreeMap::new(),
            goals: vec![GoalResult {
                text: "rate",
                value: None,
                bound: Bound::AtLeast(0.6),
            }],
        };
        assert!(table(&[result]).contains("| rate | - | >= 0.6 | not measured |"));
    }
}
