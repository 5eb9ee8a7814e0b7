//! The five services in one process or only one of them, the command line that calls a running suite,
//! and backups of the databases.

mod backup;
mod cli;
pub mod client;
pub mod command;
pub mod demo;
pub mod output;

use std::process::ExitCode;

use parta_runtime::{Running, Service, Settings, config::LogFormat};

pub use cli::main;
use command::{Command, Common};
use output::{Format, Output};

/// The five services, in the order of their start.
pub const SERVICES: [Service; 5] = [
    parta_org_registry::SERVICE,
    parta_membership::SERVICE,
    parta_invitation::SERVICE,
    parta_chat::SERVICE,
    parta_call_scheduling::SERVICE,
];

/// Runs a command. Prints a failure as one line and its fields.
pub fn run(command: Command, common: &Common) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            output::complain(&error);
            return ExitCode::FAILURE;
        }
    };
    parta_runtime::use_one_tls_provider();
    match runtime.block_on(command.run(common)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            output::complain(&failure);
            failure.exit_code()
        }
    }
}

/// Prints the address of the started server and first commands to try. Prints nothing if the log is JSON.
pub fn greet(running: &Running, settings: &Settings) {
    if settings.log.format == LogFormat::Json {
        return;
    }
    let out = Output(Format::Text);
    let (url, key) = (running.url(), running.operator_key_file().display());
    out.line(format!(
        "Parta listens on {url} (gRPC, with reflection and health)."
    ));
    out.line(format!("The operator's key is in {key}."));
    out.line("Try, in another terminal:");
    out.line(format!("  parta demo --server {url} --operator-key-file {key}"));
    out.line("  or follow \"Five minutes\" in README.md");
}
