//! The project's own commands: `cargo xtask test | soak | ci | requirements | reasons | docs | bench |
//! instructions | k8s | image | cluster`.
#![expect(
    clippy::print_stdout,
    reason = "a command-line tool prints to standard output"
)]

mod bench;
mod build;
mod ci;
mod cluster;
mod containers;
mod dependencies;
mod docs;
mod elapsed;
mod image;
mod instructions;
mod k8s;
mod parallel;
mod protos;
mod python;
mod reasons;
mod requirements;
mod servers;
mod soak;
mod test;
mod tools;
mod tour;

use std::{
    net::TcpListener,
    path::PathBuf,
    process::{Command, ExitCode},
};

use anyhow::{Context as _, bail};
use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "The project's own commands")]
struct Cli {
    #[command(subcommand)]
    command: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Provides the servers that the tests need (PostgreSQL, NATS) and runs all tests.
    Test(test::Options),
    /// Runs the consistency test for a long time and watches memory and descriptors of the processes.
    Soak(soak::Options),
    /// Runs every check that a change must pass, the cluster last, and prints how long each part took.
    Ci {
        /// Skips checks whose tool is missing and cannot be installed, and lists them at the end.
        #[arg(long)]
        allow_missing_tools: bool,
    },
    /// Prints the tests that cover each requirement, and fails if a requirement marked as done is not
    /// covered.
    Requirements,
    /// Compares the reasons that the comments of RPCs list with the refusals that the last run of all tests
    /// recorded.
    Reasons,
    /// Writes the generated documents.
    Docs {
        /// Writes nothing. Fails if the generated documents differ, or if a document has a broken link or
        /// names an unknown command or RPC.
        #[arg(long)]
        check: bool,
    },
    /// Measures cases together with their baselines, in the release profile: `all`, `start`, or cases by
    /// name.
    Bench(bench::Options),
    /// Counts the instructions of one send and one delivery, and fails if there are more than in the
    /// baseline.
    Instructions {
        /// Stores the numbers in bench/instructions.toml.
        #[arg(long)]
        write: bool,
        /// Counts the optimized build instead, without a comparison.
        #[arg(long, conflicts_with = "write")]
        release: bool,
    },
    /// Renders the chart in all profiles, and checks the manifests.
    K8s {
        /// Keeps the render in k8s/base, k8s/single-node and k8s/components.
        #[arg(long)]
        write: bool,
        /// Prints what reviewers count in the manifests, one row per profile, and checks nothing.
        #[arg(long, conflicts_with = "write")]
        table: bool,
    },
    /// Builds the image of the dev build, prints its size, and starts the five services from it as the chart
    /// says, in containers.
    Image {
        /// Builds the static program that is shipped instead, lists its components, and sends the image and
        /// the chart through a registry on this machine, with signatures.
        #[arg(long)]
        release: bool,
        /// Builds the static program for aarch64 instead of an image, starts the five services from it under
        /// emulation, and plays the demo.
        #[arg(long, conflicts_with = "release")]
        aarch64: bool,
    },
    /// Runs the five services in containers with the settings of the chart, plays the demo, and kills, cuts
    /// off, restarts, upgrades and rolls back parts of them under a load of messages.
    Cluster {
        /// Plays the demo and kills one replica only.
        #[arg(long)]
        short: bool,
    },
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Task::Test(options) => test::run(&options),
        Task::Soak(options) => soak::run(&options),
        Task::Ci { allow_missing_tools } => ci::run(allow_missing_tools),
        Task::Requirements => requirements::run(),
        Task::Reasons => reasons::run(),
        Task::Docs { check } => docs::run(check),
        Task::Bench(options) => bench::run(&options),
        Task::Instructions { write, release } => instructions::run(write, release),
        Task::K8s { table: true, .. } => k8s::table(),
        Task::K8s { write, .. } => k8s::run(write),
        Task::Image { aarch64: true, .. } => image::run_on_aarch64(),
        Task::Image { release, .. } => image::run(release),
        Task::Cluster { short } => cluster::run(short),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Returns the root of the workspace in which the command was called. The root at build time may be another
/// clone that shares the target folder.
fn root() -> PathBuf {
    let manifest = std::env::var_os("CARGO_MANIFEST_DIR");
    let manifest = manifest.map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    manifest.parent().map(PathBuf::from).unwrap_or(manifest)
}

/// Runs a command and waits for it. Fails if the command fails.
fn execute(command: &mut Command) -> anyhow::Result<()> {
    println!("xtask: {}", describe(command));
    let status = command
        .status()
        .with_context(|| format!("{} cannot be started", describe(command)))?;
    if !status.success() {
        bail!("{} failed: {status}", describe(command));
    }
    Ok(())
}

fn describe(command: &Command) -> String {
    let arguments = std::iter::once(command.get_program()).chain(command.get_args());
    arguments
        .map(|w| w.to_string_lossy())
        .collect::<Vec<_>>()
        .join(" ")
}

fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    outside_of_package(&mut command);
    command
}

/// Removes the variables that cargo sets for xtask. The build script of ring depends on some of them, so that
/// cargo would compile ring and all crates above it again after each change between `cargo build` and
/// `cargo xtask`.
fn outside_of_package(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            command.env_remove(&name);
        }
    }
}

/// Returns the target directory of cargo.
fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// Whether a program can be run with this argument, for example `--version`.
fn is_available(program: &str, argument: &str) -> bool {
    Command::new(program)
        .arg(argument)
        .output()
        .is_ok_and(|output| output.status.success())
}

/// Returns the files of the project with this extension.
fn walk(extension: &str) -> Vec<PathBuf> {
    let skip = |entry: &walkdir::DirEntry| {
        matches!(
            entry.file_name().to_str(),
            Some("target" | ".git" | "node_modules" | "data")
        )
    };
    walkdir::WalkDir::new(root())
        .sort_by_file_name()
        .into_iter()
        .filter_entry(|entry| !skip(entry))
        .filter_map(Result::ok)
        .map(walkdir::DirEntry::into_path)
        .filter(|path| path.extension().is_some_and(|e| e == extension))
        .collect()
}

fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}
