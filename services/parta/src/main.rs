//! `parta`: all five services in one process, and the command line for operators and administrators.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use parta::command::{Command, Common};
use parta_runtime::ConfigArgs;

#[derive(Parser)]
#[command(
    name = "parta",
    about = "The communication backbone that a school runs itself",
    after_help = "Exit codes: 0 done, 1 refused, 2 wrong usage, 3 the server cannot be reached, 4 the roster files were refused.",
    version
)]
struct Cli {
    #[command(flatten)]
    config: ConfigArgs,
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Option<Task>,
}

#[derive(Subcommand)]
enum Task {
    /// Serves all five services until SIGTERM or SIGINT. This is the default command.
    Serve,
    #[command(flatten)]
    Other(Command),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    match cli.command.unwrap_or(Task::Serve) {
        Task::Serve => parta_runtime::run(parta_runtime::serve_composed_with(
            &parta::SERVICES,
            cli.config,
            parta::greet,
        )),
        Task::Other(command) => parta::run(command, &cli.common),
    }
}
