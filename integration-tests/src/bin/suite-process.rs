//! Any process of the suite, for tests that start and kill real ones: `suite-process SERVICE serve|migrate`, or
//! `suite-process parta` for all in one, `suite-process command ...` for the command line. Each is the `main` of the
//! binary of that name, which is one line.
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
