//! `cargo xtask soak`: the consistency test for as long as somebody wants, with memory and descriptors
//! watched.

use crate::{cargo, execute, servers::Servers};

/// How long, and by which plans.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// How long, at least; the round under way is played to its end.
    minutes: u64,
    /// Repeats the plans of a run that printed it.
    #[arg(long)]
    seed: Option<u64>,
}

/// Runs it, with what the tests run with.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let servers = Servers::provide()?;
    let mut command = cargo();
    // The workspace, so that the artifacts of `cargo xtask test` are used: a build of one package selects other
    // features.
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
