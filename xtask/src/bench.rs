//! `cargo xtask bench`: builds the server and the bench in the release profile, provides PostgreSQL, and
//! runs the bench.

use std::{fs, path::PathBuf, process::Command};

use crate::{cargo, execute, root, servers::Servers, target};

/// The cases to measure.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Cases by name, `start` or `all`.
    #[arg(required = true)]
    cases: Vec<String>,
    /// On which database; both without it.
    #[arg(long, value_parser = ["postgres", "sqlite"])]
    db: Option<String>,
    /// Rounds that have to count, or starts to take the median of.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Seconds of a side in a round.
    #[arg(long, default_value_t = 4)]
    seconds: u64,
    /// Entries of the longest chat of `history`.
    #[arg(long, default_value_t = 1_000_000)]
    entries: u64,
    /// Servers of others to measure beside it, by name and comma: ejabberd, prosody, synapse.
    #[arg(long)]
    peers: Option<String>,
    /// Writes the table and the chart of docs/performance.md.
    #[arg(long)]
    write: bool,
    /// Folder for a flame graph of each side's servers, taken in one more round that counts for nothing else.
    #[arg(long)]
    flame: Option<PathBuf>,
    /// Another build of the suite to measure than that of this tree.
    #[arg(long)]
    program: Option<PathBuf>,
}

/// Measures what is asked for.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    execute(cargo().args(["build", "--release", "-p", "parta", "-p", "parta-bench"]))?;
    let program = options.program.clone().unwrap_or_else(|| release("parta"));
    if options.cases.iter().any(|case| case == "all" || case == "start") {
        let mut start = Command::new(release("parta-bench"));
        start.arg("start").arg("--program").arg(&program);
        execute(start.args(["--rounds", &options.rounds.to_string()]))?;
    }
    let cases: Vec<_> = options.cases.iter().filter(|case| *case != "start").collect();
    if cases.is_empty() {
        return Ok(());
    }
    let servers = Servers::provide()?;
    let mut bench = Command::new(release("parta-bench"));
    bench.args(cases).arg("--program").arg(program);
    for (name, value) in [
        ("--rounds", options.rounds as u64),
        ("--seconds", options.seconds),
        ("--entries", options.entries),
    ] {
        bench.args([name, &value.to_string()]);
    }
    if let Some(database) = &options.db {
        bench.args(["--db", database]);
    }
    if let Some(peers) = &options.peers {
        bench.args(["--peers", peers]);
    }
    if options.write {
        bench.arg("--write").arg(root().join("docs"));
    }
    if let Some(folder) = &options.flame {
        fs::create_dir_all(folder)?;
        bench.arg("--flame").arg(folder);
    }
    bench.envs(servers.environment.iter().map(|(k, v)| (*k, v.as_str())));
    execute(&mut bench)
}

fn release(program: &str) -> PathBuf {
    target().join("release").join(program)
}
