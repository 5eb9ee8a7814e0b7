//! Measures Parta together with its baselines in the same run, and compares the results with the goals.
//!
//! Run by `cargo xtask bench CASE|all`, which builds Parta, starts PostgreSQL and passes the path of the
//! program and the URL of PostgreSQL.
#![expect(
    clippy::disallowed_types,
    reason = "the tasks of a measurement end with the JoinSet that owns them"
)]
#![expect(
    clippy::print_stdout,
    reason = "a command-line tool prints to standard output"
)]

mod baselines;
mod cases;
mod competitors;
mod delivery;
mod flame;
mod load;
mod measure;
mod report;
mod start;
mod test_env;

use std::{panic::AssertUnwindSafe, path::PathBuf, process::ExitCode, time::Duration};

use clap::Parser;
use futures::FutureExt as _;

/// The options of a run.
#[derive(Parser, Clone)]
#[command(name = "cargo xtask bench", about = "Measures Parta against its baselines")]
pub(crate) struct Options {
    /// Names of cases, or `all`.
    #[arg(required = true)]
    cases: Vec<String>,
    /// Path of the `parta` program.
    #[arg(long)]
    program: PathBuf,
    /// Database to measure on. Default: each database that a case supports.
    #[arg(long, value_enum)]
    db: Option<Database>,
    /// Number of valid rounds per case.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Seconds that each variant runs in a round.
    #[arg(long, default_value_t = 4)]
    seconds: u64,
    /// Number of entries in the longest chat of `history`.
    #[arg(long, default_value_t = 1_000_000)]
    entries: i64,
    /// Number of people in each roster of `neighbors` and `bootstrap`.
    #[arg(long, default_value_t = 2_000)]
    people: usize,
    /// Number of organizations of `heads`.
    #[arg(long, default_value_t = 40_000)]
    organizations: i64,
    /// Other chat servers to measure in the same rounds, on PostgreSQL only.
    #[arg(long, value_enum, value_delimiter = ',')]
    competitors: Vec<competitors::Competitor>,
    /// Folder of docs/performance.md, whose tables and chart are replaced.
    #[arg(long)]
    write: Option<PathBuf>,
    /// Folder for a flame graph of each variant's servers, recorded in one extra round.
    #[arg(long)]
    flame: Option<PathBuf>,
    /// Name of the running case.
    #[arg(skip)]
    case: &'static str,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Database {
    Postgres,
    Sqlite,
}

impl Options {
    pub(crate) fn duration(&self) -> Duration {
        Duration::from_secs(self.seconds)
    }

    /// The competitors to measure. Their archives are in PostgreSQL, so they are not compared with SQLite.
    pub(crate) fn competitors(&self) -> &[competitors::Competitor] {
        match self.db {
            Some(Database::Sqlite) => &[],
            _ => &self.competitors,
        }
    }
}

fn main() -> ExitCode {
    // The first argument may be one of the subcommands with which the bench starts processes of its own.
    let mut arguments: Vec<_> = std::env::args_os().collect();
    match arguments.get(1).and_then(|argument| argument.to_str()) {
        Some("bare") => {
            arguments.remove(1);
            return baselines::bare(arguments);
        }
        Some("start") => {
            arguments.remove(1);
            return parta_runtime::run(start::run(arguments));
        }
        Some("echo") => return parta_runtime::run(baselines::echo()),
        Some("shared") => return parta_runtime::run(delivery::shared()),
        Some("sockets") => return parta_runtime::run(async { delivery::sockets() }),
        _ => {}
    }
    let options = Options::parse();
    parta_runtime::run(async move { run(options).await })
}

async fn run(options: Options) -> anyhow::Result<()> {
    competitors::check_installed(&options.competitors)?;
    let (mut results, mut failed) = (Vec::new(), Vec::new());
    for (case, database) in cases::select(&options.cases, options.db)? {
        println!("bench: {} ...", case.name);
        let options = Options {
            db: Some(database),
            case: case.name,
            ..options.clone()
        };
        // The clients of the test harness panic if a call is rejected unexpectedly.
        let run = AssertUnwindSafe((case.run)(options.clone())).catch_unwind().await;
        // The hook of the runtime leaves the message out, because a service has personal data.
        let panicked = |panic: Box<dyn std::any::Any + Send>| {
            let printed = panic.downcast_ref::<String>().map_or("", String::as_str);
            Err(anyhow::anyhow!("the case panicked: {printed}"))
        };
        match run.unwrap_or_else(panicked) {
            Ok(measured) => {
                let result = report::Result::new(case, database, options.competitors(), &measured);
                println!("{}", result.json());
                results.push(result);
            }
            // The remaining cases still run, but the command exits with an error.
            Err(error) => {
                println!(
                    "bench: {} failed: {}",
                    case.name,
                    parta_status::error_chain(&*error)
                );
                failed.push(case.name);
            }
        }
    }
    println!("{}", report::table(&results));
    if let Some(folder) = &options.write {
        report::write(folder, &options, &results)?;
    }
    anyhow::ensure!(failed.is_empty(), "failed: {}", failed.join(", "));
    Ok(())
}
