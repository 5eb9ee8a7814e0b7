//! A process of the suite, for tests that start and kill real processes. `suite-process SERVICE
//! serve|migrate` runs one service, `suite-process parta` all services, and `suite-process command ...` the
//! command line. Each calls the same function as the `main` of that binary.
use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    let mut words: Vec<_> = std::env::args_os().collect();
    if words.len() < 2 {
        return ExitCode::FAILURE;
    }
    let name = words.remove(1);
    if name == "command" {
        let Line { common, command } = Line::parse_from(words);
        return parta::run(command, &common);
    }
    if name == "parta" {
        let args = Args::parse_from(words).config;
        return parta_runtime::run(parta_runtime::serve_composed(&parta::SERVICES, args));
    }
    match parta::SERVICES.into_iter().find(|service| name == service.name) {
        Some(service) => parta_runtime::run_service_with(service, words),
        None => ExitCode::FAILURE,
    }
}

#[derive(clap::Parser)]
struct Args {
    #[command(flatten)]
    config: parta_runtime::ConfigArgs,
}

#[derive(clap::Parser)]
struct Line {
    #[command(flatten)]
    common: parta::command::Common,
    #[command(subcommand)]
    command: parta::command::Command,
}
