//! The project's own commands: `cargo xtask test | soak | ci | requirements | reasons | docs | bench |
//! instructions | k8s`.
#![expect(clippy::print_stdout, reason = "a command line speaks on standard output")]

mod bench;
mod build;
mod ci;
mod dependencies;
mod docs;
mod elapsed;
mod instructions;
mod k8s;
mod protos;
mod python;
mod reasons;
mod requirements;
mod servers;
mod soak;
mod test;
mod tools;

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
    /// Gets what the tests need (PostgreSQL, NATS) and runs all of them.
    Test(test::Options),
    /// Runs the consistency test for a long time and watches memory and descriptors of the processes.
    Soak(soak::Options),
    /// Runs every check that a change must pass, the tests last, and prints how long each part took.
    Ci {
        /// Skips checks whose tool is missing and cannot be installed, and lists them at the end.
        #[arg(long)]
        allow_missing_tools: bool,
    },
    /// Prints which tests cover which requirement, and fails where one that is called done is not covered.
    Requirements,
    /// Compares the reasons that the comments of RPCs list with the refusals that the last run of all tests
    /// recorded.
    Reasons,
    /// Writes the generated documents.
    Docs {
        /// Fails where they differ, and where links, commands or RPCs of documents lead nowhere; writes
        /// nothing.
        #[arg(long)]
        check: bool,
    },
    /// Measures cases beside their limits, on the release profile: `all`, `start`, or cases of the bench by
    /// name.
    Bench(bench::Options),
    /// Counts the instructions of one send and one delivery, and fails where they have grown.
    Instructions {
        /// Keeps what was counted in bench/instructions.toml.
        #[arg(long)]
        write: bool,
        /// Counts the optimized build instead, and compares with nothing.
        #[arg(long, conflicts_with = "write")]
        release: bool,
    },
    /// Renders the chart in all profiles, and checks the manifests.
    K8s {
        /// Keeps the render in k8s/base and k8s/components.
        #[arg(long)]
        write: bool,
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
        Task::K8s { write } => k8s::run(write),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The root of the workspace in which this was called. Not of that in which it was built: where clones share
/// a target folder, one would test the other.
fn root() -> PathBuf {
    let manifest = std::env::var_os("CARGO_MANIFEST_DIR");
    let manifest = manifest.map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    manifest.parent().map(PathBuf::from).unwrap_or(manifest)
}

/// Runs a command to its end; fails where it does.
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
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|w| w.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    command
}

/// The target directory.
fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// Whether a program answers when it is asked for its version.
fn answers(program: &str, argument: &str) -> bool {
    Command::new(program)
        .arg(argument)
        .output()
        .is_ok_and(|output| output.status.success())
}

/// Files of the project with this extension.
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

/// A port that nobody listens on.
fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}
