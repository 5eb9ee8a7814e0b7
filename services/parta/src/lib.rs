//! The whole suite in one process, and the command line that talks to a running one.

pub mod client;
pub mod command;
pub mod demo;
pub mod output;

use std::process::ExitCode;

use parta_runtime::{Running, Service, Settings, config::LogFormat};

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

/// Runs a command to its end and tells a failure in one line and its fields.
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

/// Tells whoever started the suite where it is and what to try; nothing where programs read the log.
pub fn greet(running: &Running, settings: &Settings) {
    if settings.log.format == LogFormat::Json {
        return;
    }
    let out = Output(Format::Text);
    let (url, key) = (running.url(), running.operator_key_file().display());
    out.line(format!(
        "Parta listens on {url} (gRPC, with reflection and health)."
    ));
    out.line(format!("The operator's key lies in {key}."));
    out.line("Try, in another terminal:");
    out.line(format!("  parta demo --server {url} --operator-key-file {key}"));
    out.line("  or the five minutes of README.md");
}
