//! `cargo xtask instructions`: counts the instructions of one send and one delivery in the server with
//! callgrind. The number does not depend on the load of the machine, so that it can be compared with a stored
//! baseline.
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, bail, ensure};

use crate::{build::Build, describe, root, servers};

/// The file with the stored baseline.
const BASELINE: &str = "bench/instructions.toml";
/// Accepted growth. Libraries select code by processor, so that the numbers differ between machines.
const TOLERANCE: f64 = 0.10;
/// Messages of the shorter run, and additional messages of the longer run.
const MESSAGES: (u64, u64) = (100, 400);
/// Number of streams in the run that measures deliveries.
const STREAMS: u64 = 50;

/// Counts and prints the instructions and fails if a number has grown by more than the tolerance. `write`
/// stores the numbers as the baseline instead. `release` only prints the numbers of the optimized build.
pub(crate) fn run(write: bool, release: bool) -> anyhow::Result<()> {
    let valgrind = valgrind()?;
    let build = if release {
        Build::with(&["test", "--release", "-p", "parta-chat", "--lib", "--no-run"])?
    } else {
        Build::workspace()?
    };
    count(&valgrind, &build, write, release)
}

pub(crate) fn valgrind() -> anyhow::Result<PathBuf> {
    servers::local("valgrind", "valgrind", || servers::in_path("valgrind"))
}

/// Compares the instructions of a development build with the baseline.
pub(crate) fn check(valgrind: &Path, build: &Build) -> anyhow::Result<()> {
    count(valgrind, build, false, false)
}

fn count(valgrind: &Path, build: &Build, write: bool, release: bool) -> anyhow::Result<()> {
    // The unit tests of chat in the dev profile: the number shows changes, not the speed of a release build.
    let program = build.tests("parta_chat")?;
    let count = |messages, streams| callgrind(valgrind, program, messages, streams);
    let (few, many) = (MESSAGES.0, MESSAGES.0 + MESSAGES.1);
    let without_streams = count(many, 0)? - count(few, 0)?;
    let with_streams = count(many, STREAMS)? - count(few, STREAMS)?;
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    let counted = BTreeMap::from([
        ("send", (without_streams as f64 / MESSAGES.1 as f64).round()),
        (
            "delivery",
            ((with_streams - without_streams) as f64 / (MESSAGES.1 * STREAMS) as f64).round(),
        ),
    ]);
    if release {
        for (name, number) in &counted {
            println!("xtask: {name}: {number} instructions, optimized");
        }
        return Ok(());
    }
    let file = root().join(BASELINE);
    if write {
        let mut text = "# Instructions per operation in the server, without transport and database.\n# Written by `cargo xtask instructions --write`.\n".to_owned();
        for (name, number) in &counted {
            text += &format!("{name} = {number}\n");
        }
        fs::write(&file, text)?;
    }
    let baseline: BTreeMap<String, f64> = toml::from_str(&fs::read_to_string(&file)?)?;
    let mut increased = Vec::new();
    for (name, number) in &counted {
        let stored = *baseline
            .get(*name)
            .with_context(|| format!("{BASELINE} has no {name}"))?;
        println!(
            "xtask: {name}: {number} instructions, {:.2} of the baseline {stored}",
            number / stored
        );
        if *number > stored * (1.0 + TOLERANCE) {
            increased.push(*name);
        }
    }
    ensure!(
        increased.is_empty(),
        "more instructions than {BASELINE} allows: {}; reduce them, or store the new numbers with --write and say why",
        increased.join(", ")
    );
    Ok(())
}

/// Runs the program under callgrind and returns the instructions of the serving thread.
fn callgrind(valgrind: &Path, program: &Path, messages: u64, streams: u64) -> anyhow::Result<u64> {
    let folder = tempfile::tempdir()?;
    let out = folder.path().join("out");
    let mut command = Command::new(valgrind);
    command
        .args(["--tool=callgrind", "--separate-threads=yes", "--quiet"])
        .arg(format!("--callgrind-out-file={}", out.display()))
        .arg(program)
        .args([
            "--ignored",
            "--exact",
            "tests::instructions::messages",
            "--test-threads=1",
        ])
        .env("PARTA_MESSAGES", messages.to_string())
        .env("PARTA_STREAMS", streams.to_string());
    let output = command.output()?;
    if !output.status.success() {
        let output = String::from_utf8_lossy(&output.stdout);
        bail!("{} failed:\n{output}", describe(&command));
    }
    // Of all threads, the serving thread executes the most instructions. The database has a thread of its
    // own.
    let mut most = 0;
    for file in fs::read_dir(folder.path())? {
        let text = fs::read_to_string(file?.path())?;
        let total = text.lines().find_map(|line| line.strip_prefix("summary: "));
        most = most.max(total.and_then(|number| number.trim().parse().ok()).unwrap_or(0));
    }
    ensure!(most > 0, "the output of callgrind has no total");
    Ok(most)
}
