//! Measures the suite beside its physical limits, both in one run, and says where it stands to its goals.
//!
//! Run by `cargo xtask bench CASE|all`, which builds the suite, provides PostgreSQL and hands both over.
#![expect(
    clippy::disallowed_types,
    reason = "the tasks of a measurement end with the JoinSet that owns them"
)]
#![expect(clippy::print_stdout, reason = "a command line speaks on standard output")]

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
#[command(name = "cargo xtask bench", about = "Measures the suite beside its limits")]
pub(crate) struct Options {
    /// Names of cases, or `all`.
    #[arg(required = true)]
    cases: Vec<String>,
    /// The suite's program.
    #[arg(long)]
    program: PathBuf,
    /// On which database; both without it.
    #[arg(long, value_enum)]
    db: Option<Database>,
    /// Rounds that have to count.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Seconds of a side in a round.
    #[arg(long, default_value_t = 4)]
    seconds: u64,
    /// Entries of the longest chat of `history`.
    #[arg(long, default_value_t = 1_000_000)]
    entries: i64,
    /// Servers of others to measure beside it, where PostgreSQL is used.
    #[arg(long, value_enum, value_delimiter = ',')]
    peers: Vec<competitors::Peer>,
    /// Folder of docs/performance.md, whose table and chart are written anew.
    #[arg(long)]
    write: Option<PathBuf>,
    /// Folder for a flame graph of each side's servers, taken in one more round that counts for nothing else.
    #[arg(long)]
    flame: Option<PathBuf>,
    /// The case that runs.
    #[arg(skip)]
    case: &'static str,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Database {
    Postgres,
    Sqlite,
}

impl Options {
    pub(crate) fn span(&self) -> Duration {
        Duration::from_secs(self.seconds)
    }

    /// The peers to be measured. Their archives lie in PostgreSQL: beside SQLite they would say nothing.
    pub(crate) fn peers(&self) -> &[competitors::Peer] {
        match self.db {
            Some(Database::Sqlite) => &[],
            _ => &self.peers,
        }
    }
}

fn main() -> ExitCode {
    let mut words: Vec<_> = std::env::args_os().collect();
    match words.get(1).and_then(|word| word.to_str()) {
        Some("bare") => {
            words.remove(1);
            return parta_runtime::run_service_with(baselines::BARE, words);
        }
        Some("start") => {
            words.remove(1);
            return parta_runtime::run(start::run(words));
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
    competitors::installed(&options.peers)?;
    let (mut results, mut failed) = (Vec::new(), Vec::new());
    for (case, database) in cases::chosen(&options.cases, options.db)? {
        println!("bench: {} ...", case.name);
        let options = Options {
            db: Some(database),
            case: case.name,
            ..options.clone()
        };
        // The people of the harness panic where the suite refuses what it must not.
        let run = AssertUnwindSafe((case.run)(options.clone())).catch_unwind().await;
        match run.unwrap_or_else(|_| Err(anyhow::anyhow!("it panicked"))) {
            Ok(measured) => {
                let result = report::Result::of(case, database, options.peers(), &measured);
                println!("{}", result.json());
                results.push(result);
            }
            // The others are measured all the same; the run as a whole fails.
            Err(error) => {
                println!("bench: {} failed: {error:#}", case.name);
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
