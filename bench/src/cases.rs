//! The cases that the bench measures, and the goal of each.
pub(crate) mod fanout;
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

/// One workload with its sides.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    /// Whether it says something on SQLite, and on PostgreSQL.
    databases: (bool, bool),
    pub(crate) goals: &'static [Goal],
    pub(crate) run: fn(Options) -> LocalBoxFuture<'static, anyhow::Result<Measured>>,
}

macro_rules! case {
    ($name:literal, $databases:expr, $run:path, [$(($text:literal, $ours:expr, $against:expr, $bound:expr)),* $(,)?]) => {
        Case {
            name: $name,
            databases: $databases,
            goals: &[$(Goal { text: $text, ours: $ours, against: $against, bound: $bound }),*],
            run: |options| Box::pin($run(options)),
        }
    };
}

const POSTGRES: (bool, bool) = (false, true);
const SQLITE: (bool, bool) = (true, false);
const BOTH: (bool, bool) = (true, true);

const CASES: &[Case] = &[
    case!(
        "send1",
        POSTGRES,
        send::one,
        [
            (
                "one sender: rate against pgbench with one client",
                ("ours", "rate"),
                Some(("pgbench", "rate")),
                AtLeast(0.6)
            ),
            (
                "one sender: rate against ejabberd",
                ("ours", "rate"),
                Some(("ejabberd", "rate")),
                AtLeast(1.5)
            ),
        ]
    ),
    case!(
        "send64",
        POSTGRES,
        send::many,
        [
            (
                "256 senders: rate against the same RPC without its database",
                ("ours256", "rate"),
                Some(("bare256", "rate")),
                AtLeast(0.5)
            ),
            (
                "64 senders: rate against one row a transaction by pgbench",
                ("ours64", "rate"),
                Some(("pgbench64", "rate")),
                AtLeast(1.0)
            ),
            (
                "64 senders: rate against ejabberd",
                ("ours64", "rate"),
                Some(("ejabberd", "rate")),
                AtLeast(5.0)
            ),
            (
                "64 senders: rate against Synapse",
                ("ours64", "rate"),
                Some(("synapse", "rate")),
                AtLeast(300.0)
            ),
            (
                "64 senders at half of our peak: p99 against ejabberd's p50",
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
                "16 senders and 16 readers in one chat: rate against 64 senders in own chats",
                ("room", "rate"),
                Some(("own", "rate")),
                AtLeast(0.4)
            ),
            (
                "16 senders and 16 readers in one chat: rate against ejabberd",
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
                "16 outsiders: rate against an echo",
                ("ours", "rate"),
                Some(("echo", "rate")),
                AtLeast(0.8)
            ),
            (
                "16 outsiders: rate against ejabberd",
                ("ours", "rate"),
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
                "64 senders: rate against 64 raw rows a transaction",
                ("ours", "rate"),
                Some(("raw", "rate")),
                AtLeast(0.5)
            ),
            (
                "64 senders: rate against one transaction a message",
                ("ours", "rate"),
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
                "joins to the first message in the derived chat, a second",
                ("ours", "rate"),
                None,
                AtLeast(100.0)
            ),
            (
                "joins to the first message in the derived chat: rate against ejabberd",
                ("ours", "rate"),
                Some(("ejabberd", "rate")),
                AtLeast(3.0)
            ),
            (
                "joins to the first message in the derived chat: rate against Synapse",
                ("ours", "rate"),
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
                "1,000 streams: CPU of the server per delivery, microseconds, against an echo's",
                ("ours", "cpu_us"),
                Some(("echo", "cpu_us")),
                AtMost(1.2)
            ),
            (
                "1,000 streams: CPU of the server per delivery, microseconds",
                ("ours", "cpu_us"),
                None,
                AtMost(7.0)
            ),
            (
                "1,000 streams: last member, against an echo's",
                ("ours", "last_ms"),
                Some(("echo", "last_ms")),
                AtMost(1.2)
            ),
            (
                "1,000 streams: CPU of the server per delivery, against ejabberd's",
                ("ours", "cpu_us"),
                Some(("ejabberd", "cpu_us")),
                AtMost(0.25)
            ),
            (
                "1,000 streams: last member, against ejabberd's",
                ("ours", "last_ms"),
                Some(("ejabberd", "last_ms")),
                AtMost(0.333)
            ),
            (
                "1,000 streams: deliveries a second, against ejabberd's",
                ("ours", "rate"),
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
                "5,000 idle streams, a connection each: KiB a stream",
                ("own", "kib"),
                None,
                AtMost(20.0)
            ),
            (
                "10,000 idle streams, 100 a connection: KiB a stream",
                ("shared", "kib"),
                None,
                AtMost(5.0)
            ),
            (
                "5,000 idle streams, a connection each: memory against ejabberd's",
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
                "newest 50 of a long chat: p50 against that of a chat with 1,000",
                ("long", "p50_ms"),
                Some(("short", "p50_ms")),
                AtMost(1.2)
            ),
            (
                "50 in the middle of a long chat: p50 against that of a chat with 1,000",
                ("middle", "p50_ms"),
                Some(("short", "p50_ms")),
                AtMost(1.2)
            ),
            (
                "newest 50 of a long chat: p50 against ejabberd's, whose archive has 1,000,000 at most",
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
                "1,000 members open the channel: seconds",
                ("ours", "seconds"),
                None,
                AtMost(0.36)
            ),
            (
                "1,000 members open the channel: time against ejabberd's",
                ("ours", "seconds"),
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
            "5,000 subscribers come back while messages flow: seconds until all caught up",
            ("ours", "seconds"),
            None,
            AtMost(5.0)
        ),]
    ),
];

/// The cases asked for, in their own order, on the database asked for or on each that they say something of.
pub(crate) fn chosen(
    names: &[String],
    database: Option<Database>,
) -> anyhow::Result<Vec<(&'static Case, Database)>> {
    for name in names {
        let known = name == "all" || CASES.iter().any(|case| case.name == name);
        let list: Vec<_> = CASES.iter().map(|case| case.name).collect();
        ensure!(known, "no case {name}; there are all, start, {}", list.join(", "));
    }
    let asked = |case: &&Case| names.iter().any(|name| name == "all" || name == case.name);
    let chosen: Vec<_> = CASES
        .iter()
        .filter(asked)
        .flat_map(|case| {
            let on = [
                (case.databases.1, Database::Postgres),
                (case.databases.0, Database::Sqlite),
            ];
            let on = on.into_iter().filter(|(fits, _)| *fits).map(|(_, on)| on);
            on.map(move |on| (case, on))
        })
        .filter(|(_, on)| database.is_none_or(|asked| asked == *on))
        .collect();
    ensure!(!chosen.is_empty(), "nothing of that on this database");
    Ok(chosen)
}
