//! `cargo xtask soak`: repeats the consistency test for a given time and checks the memory and descriptors of
//! the processes.

use crate::{
    cargo, execute,
    servers::{Servers, Storage},
};

/// The options of the command.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Minimum duration in minutes. The last round always runs to its end.
    minutes: u64,
    /// Seed of an earlier run, which is printed at its start, to repeat its plans.
    #[arg(long)]
    seed: Option<u64>,
}

/// Runs the test with the servers that all tests use.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let servers = Servers::provide(Storage::Disk)?;
    let mut command = cargo();
    // The workspace, so that the artifacts of `cargo xtask test` are used: a build of one package selects
    // other features.
    command.args(["test", "--workspace", "--test", "all"]);
    command.args(["--", "--ignored", "--exact", "--nocapture"]);
    command.arg("consistency::soak::soak");
    command.envs(servers.environment.iter().map(|(k, v)| (*k, v.as_str())));
    command.env("PARTA_SOAK_MINUTES", options.minutes.to_string());
    if let Some(seed) = options.seed {
        command.env("PARTA_TEST_SEED", seed.to_string());
    }
    execute(&mut command)
}
