//! The benchmark cases and their goals.
pub(crate) mod fanout;
mod feeds;
mod heads;
mod history;
mod live;
mod paced;
mod send;

use anyhow::ensure;
use futures::future::LocalBoxFuture;

use crate::{
    Database, Options,
    measure::{Bound::*, Goal, Measured},
};

/// A workload and its variants.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    databases: &'static [Database],
    pub(crate) goals: &'static [Goal],
    pub(crate) run: fn(Options) -> LocalBoxFuture<'static, anyhow::Result<Measured>>,
}

macro_rules! case {
    ($name:literal, $databases:expr, $run:path, [$(($text:literal, $measured:expr, $baseline:expr, $bound:expr)),* $(,)?]) => {
        Case {
            name: $name,
            databases: $databases,
            goals: &[$(Goal { text: $text, measured: $measured, baseline: $baseline, bound: $bound }),*],
            run: |options| Box::pin($run(options)),
        }
    };
}

const POSTGRES: &[Database] = &[Database::Postgres];
const SQLITE: &[Database] = &[Database::Sqlite];
const BOTH: &[Database] = &[Database::Postgres, Database::Sqlite];

const CASES: &[Case] = &[
    case!(
        "send1",
        POSTGRES,
        send::one_sender,
        [
            (
                "one sender: rate relative to pgbench with one client",
                ("parta", "rate"),
                Some(("pgbench", "rate")),
                AtLeast(0.6)
            ),
            (
                "one sender: rate relative to ejabberd",
                ("parta", "rate"),
                Some(("ejabberd", "rate")),
                AtLeast(1.5)
            ),
        ]
    ),
    case!(
        "send64",
        POSTGRES,
        send::many_senders,
        [
            (
                "256 senders: rate relative to the same RPC without a database",
                ("parta256", "rate"),
                Some(("bare256", "rate")),
                AtLeast(0.5)
            ),
            (
                "64 senders: rate relative to pgbench with one row per transaction",
                ("parta64", "rate"),
                Some(("pgbench64", "rate")),
                AtLeast(1.0)
            ),
            (
                "64 senders: rate relative to ejabberd",
                ("parta64", "rate"),
                Some(("ejabberd", "rate")),
                AtLeast(5.0)
            ),
            (
                "64 senders: rate relative to Synapse",
                ("parta64", "rate"),
                Some(("synapse", "rate")),
                AtLeast(300.0)
            ),
            (
                "64 senders at half of Parta's peak rate: p99 relative to ejabberd's p50",
                ("half", "p99_ms"),
                Some(("ejabberd", "p50_ms")),
                AtMost(1.0)
            ),
        ]
    ),
    case!(
        "room16",
        POSTGRES,
        send::room,
        [
            (
                "16 senders and 16 readers in one chat: rate relative to 64 senders in chats of their own",
                ("room", "rate"),
                Some(("own", "rate")),
                AtLeast(0.4)
            ),
            (
                "16 senders and 16 readers in one chat: rate relative to ejabberd",
                ("room", "rate"),
                Some(("ejabberd", "rate")),
                AtLeast(8.0)
            ),
        ]
    ),
    case!(
        "refused",
        POSTGRES,
        send::refused,
        [
            (
                "16 outsiders: rate relative to an echo server",
                ("parta", "rate"),
                Some(("echo", "rate")),
                AtLeast(0.8)
            ),
            (
                "16 outsiders: rate relative to ejabberd",
                ("parta", "rate"),
                Some(("ejabberd", "rate")),
                AtLeast(1.5)
            ),
        ]
    ),
    case!(
        "embedded",
        SQLITE,
        send::embedded,
        [
            (
                "64 senders: rate relative to raw SQLite with 64 rows per transaction",
                ("parta", "rate"),
                Some(("raw", "rate")),
                AtLeast(0.5)
            ),
            (
                "64 senders: rate relative to one transaction per message",
                ("parta", "rate"),
                Some(("naive", "rate")),
                AtLeast(7.0)
            ),
        ]
    ),
    case!(
        "invite",
        BOTH,
        send::invite,
        [
            (
                "joins per second, each up to the first message in the class chat",
                ("parta", "rate"),
                None,
                AtLeast(100.0)
            ),
            (
                "joins up to the first message in the class chat: rate relative to ejabberd",
                ("parta", "rate"),
                Some(("ejabberd", "rate")),
                AtLeast(3.0)
            ),
            (
                "joins up to the first message in the class chat: rate relative to Synapse",
                ("parta", "rate"),
                Some(("synapse", "rate")),
                AtLeast(200.0)
            ),
        ]
    ),
    case!(
        "fanout",
        BOTH,
        fanout::fanout,
        [
            (
                "1,000 streams: CPU of the server per delivery relative to an echo server",
                ("parta", "cpu_us"),
                Some(("echo", "cpu_us")),
                AtMost(1.2)
            ),
            (
                "1,000 streams: CPU of the server per delivery, microseconds",
                ("parta", "cpu_us"),
                None,
                AtMost(7.0)
            ),
            (
                "1,000 streams: time to the last member relative to an echo server",
                ("parta", "last_ms"),
                Some(("echo", "last_ms")),
                AtMost(1.2)
            ),
            (
                "1,000 streams: CPU of the server per delivery relative to ejabberd",
                ("parta", "cpu_us"),
                Some(("ejabberd", "cpu_us")),
                AtMost(0.25)
            ),
            (
                "1,000 streams: time to the last member relative to ejabberd",
                ("parta", "last_ms"),
                Some(("ejabberd", "last_ms")),
                AtMost(0.333)
            ),
            (
                "1,000 streams: deliveries per second relative to ejabberd",
                ("parta", "rate"),
                Some(("ejabberd", "rate")),
                AtLeast(3.0)
            ),
        ]
    ),
    case!(
        "idle",
        BOTH,
        live::idle,
        [
            (
                "5,000 idle streams, one per connection: KiB per stream",
                ("own", "kib"),
                None,
                AtMost(20.0)
            ),
            (
                "10,000 idle streams, 100 per connection: KiB per stream",
                ("shared", "kib"),
                None,
                AtMost(5.0)
            ),
            (
                "5,000 idle streams, one per connection: memory relative to ejabberd",
                ("own", "kib"),
                Some(("ejabberd", "kib")),
                AtMost(0.5)
            ),
        ]
    ),
    case!(
        "history",
        POSTGRES,
        history::newest,
        [
            (
                "newest 50 entries of a long chat: p50 relative to a chat of 1,000",
                ("long", "p50_ms"),
                Some(("short", "p50_ms")),
                AtMost(1.2)
            ),
            (
                "50 entries in the middle of a long chat: p50 relative to a chat of 1,000",
                ("middle", "p50_ms"),
                Some(("short", "p50_ms")),
                AtMost(1.2)
            ),
            (
                "newest 50 entries of a long chat: p50 relative to ejabberd with at most 1,000,000 messages",
                ("long", "p50_ms"),
                Some(("ejabberd", "p50_ms")),
                AtMost(0.01)
            ),
        ]
    ),
    case!(
        "open1000",
        BOTH,
        live::open,
        [
            (
                "1,000 members open a live stream: seconds",
                ("parta", "seconds"),
                None,
                AtMost(0.36)
            ),
            (
                "1,000 members open a live stream: time relative to ejabberd",
                ("parta", "seconds"),
                Some(("ejabberd", "seconds")),
                AtMost(0.01)
            ),
        ]
    ),
    case!(
        "storm",
        BOTH,
        live::storm,
        [(
            "5,000 subscribers reconnect while messages arrive: seconds until all have caught up",
            ("parta", "seconds"),
            None,
            AtMost(5.0)
        ),]
    ),
    case!(
        "neighbors",
        BOTH,
        feeds::neighbors,
        [
            (
                "30 schools import: p99 of a message of another school, milliseconds",
                ("importing", "p99_ms"),
                None,
                AtMost(1_000.0)
            ),
            (
                "30 schools import: refused messages of another school",
                ("importing", "refused"),
                None,
                AtMost(0.0)
            ),
            (
                "30 schools import: seconds until chat shows a change of theirs",
                ("importing", "lag_seconds"),
                None,
                AtMost(10.0)
            ),
        ]
    ),
    case!(
        "changes",
        POSTGRES,
        feeds::changes,
        [(
            "changes in 32 organizations: rate relative to the same transactions without events",
            ("events", "rate"),
            Some(("plain", "rate")),
            AtLeast(0.7)
        ),]
    ),
    case!(
        "bootstrap",
        POSTGRES,
        feeds::bootstrap,
        [
            (
                "chat reads the log of one school again: events per second",
                ("log", "rate"),
                None,
                AtLeast(1_800.0)
            ),
            (
                "chat takes a snapshot of one school: growth of memory on both sides together, MiB",
                ("snapshot", "growth_mib"),
                None,
                AtMost(128.0)
            ),
        ]
    ),
    case!(
        "heads",
        POSTGRES,
        heads::heads,
        [
            (
                "all heads of many organizations: seconds until a service has learned them",
                ("parta", "connect_seconds"),
                None,
                AtMost(2.0)
            ),
            (
                "many organizations at rest: transactions a second of the busiest service on its database",
                ("parta", "busiest_per_second"),
                None,
                AtMost(5.0)
            ),
            (
                "a change of one of many organizations: milliseconds until chat knows it",
                ("parta", "change_ms"),
                None,
                AtMost(1_000.0)
            ),
        ]
    ),
];

/// Returns the named cases in the order of `CASES`, each with `database` or with every database that it
/// supports.
pub(crate) fn select(
    names: &[String],
    database: Option<Database>,
) -> anyhow::Result<Vec<(&'static Case, Database)>> {
    for name in names {
        let is_known = name == "all" || CASES.iter().any(|case| case.name == name);
        let list: Vec<_> = CASES.iter().map(|case| case.name).collect();
        ensure!(
            is_known,
            "unknown case {name}; use all, start, {}",
            list.join(", ")
        );
    }
    let is_named = |case: &&Case| names.iter().any(|name| name == "all" || name == case.name);
    let selected: Vec<_> = CASES
        .iter()
        .filter(is_named)
        .flat_map(|case| case.databases.iter().map(move |supported| (case, *supported)))
        .filter(|(_, supported)| database.is_none_or(|requested| requested == *supported))
        .collect();
    ensure!(!selected.is_empty(), "these cases do not support this database");
    Ok(selected)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// Whether a goal compares with a server that only some machines have.
    fn compares_servers(goal: &Goal) -> bool {
        let baseline = goal.baseline.map(|(variant, _)| variant);
        baseline.is_some_and(|variant| ["ejabberd", "prosody", "synapse"].contains(&variant))
    }

    /// A row of results names the measure of a goal. The text before the colon may have other numbers of
    /// people.
    #[test]
    fn document_has_a_row_of_each_case_and_goal() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/performance.md");
        let document = std::fs::read_to_string(file).unwrap();
        let (_, after) = document.split_once("These are the cases:").unwrap();
        let (cases, results) = after.split_once("## Measured").unwrap();
        let mut missing = Vec::new();
        for case in CASES {
            let begin = format!("| {} | ", case.name);
            let is_row = |line: &&str| line.starts_with(&begin);
            if cases.lines().filter(is_row).count() != 1 {
                missing.push(case.name.to_owned());
            }
            for goal in case.goals.iter().filter(|goal| !compares_servers(goal)) {
                let measure = goal
                    .text
                    .split_once(": ")
                    .map_or(goal.text, |(_, measure)| measure);
                if !results.lines().filter(is_row).any(|row| row.contains(measure)) {
                    missing.push(format!("{}: {}", case.name, goal.text));
                }
            }
        }
        assert_eq!(missing, [] as [String; 0]);
    }
}
