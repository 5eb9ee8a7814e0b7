//! `cargo xtask bench`: builds the server and the bench in the release profile, provides PostgreSQL, and
//! runs the bench.

use std::{fs, path::PathBuf, process::Command};

use crate::{
    cargo, execute, root,
    servers::{Servers, Storage},
    target,
};

/// The cases to measure.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Names of cases, or `all`.
    #[arg(required = true)]
    cases: Vec<String>,
    /// Database to measure on. Default: each database that a case supports.
    #[arg(long, value_parser = ["postgres", "sqlite"])]
    db: Option<String>,
    /// Number of valid rounds per case, or number of starts.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Seconds that each variant runs in a round.
    #[arg(long, default_value_t = 4)]
    seconds: u64,
    /// Number of entries in the longest chat of `history`.
    #[arg(long, default_value_t = 1_000_000)]
    entries: u64,
    /// Number of people in each roster of `neighbors` and `bootstrap`.
    #[arg(long, default_value_t = 2_000)]
    people: u64,
    /// Number of organizations of `heads`.
    #[arg(long, default_value_t = 40_000)]
    organizations: u64,
    /// Other chat servers to measure, separated by commas: ejabberd, prosody, synapse.
    #[arg(long)]
    competitors: Option<String>,
    /// Writes the tables and the chart of docs/performance.md.
    #[arg(long)]
    write: bool,
    /// Folder for a flame graph of each variant's servers, recorded in one extra round.
    #[arg(long)]
    flame: Option<PathBuf>,
    /// Path of another `parta` program to measure. Default: the build of this tree.
    #[arg(long)]
    program: Option<PathBuf>,
}

/// Builds the programs and runs the selected cases.
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
    let servers = Servers::provide(Storage::Disk)?;
    let mut bench = Command::new(release("parta-bench"));
    bench.args(cases).arg("--program").arg(program);
    for (name, value) in [
        ("--rounds", options.rounds as u64),
        ("--seconds", options.seconds),
        ("--entries", options.entries),
        ("--people", options.people),
        ("--organizations", options.organizations),
    ] {
        bench.args([name, &value.to_string()]);
    }
    if let Some(database) = &options.db {
        bench.args(["--db", database]);
    }
    if let Some(competitors) = &options.competitors {
        bench.args(["--competitors", competitors]);
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
