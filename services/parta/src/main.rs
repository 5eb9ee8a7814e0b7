//! `parta`: all five services in one process.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use parta_runtime::ConfigArgs;

#[derive(Parser)]
#[command(
    name = "parta",
    about = "The communication backbone that a school runs itself",
    version
)]
struct Cli {
    #[command(flatten)]
    config: ConfigArgs,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Serves all five services until SIGTERM or SIGINT; what happens when no command is named.
    Serve,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    match cli.command.unwrap_or(Command::Serve) {
        Command::Serve => parta_runtime::run(parta_runtime::serve_composed(&parta::SERVICES, cli.config)),
    }
}
