//! `cargo xtask instructions`: what the server's part of one send and of one delivery costs, counted by
//! callgrind. Noise does not move the number, so that it can be held to what it was.
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, bail, ensure};

use crate::{build::Build, describe, root, servers};

/// Where the numbers are kept that are held to.
const KEPT: &str = "bench/instructions.toml";
/// Compilers agree, libraries choose by processor: more than this share is a change of ours.
const TOLERANCE: f64 = 0.10;
/// Messages of the shorter run, and how many more the longer one sends.
const MESSAGES: (u64, u64) = (100, 400);
/// Streams that listen in the run for deliveries.
const STREAMS: u64 = 50;

/// Counts, prints, and fails where a number has grown by more than the tolerance; `write` keeps the numbers
/// instead. `release` only prints: those of the optimized build, which takes its time, and are what a user
/// pays.
pub(crate) fn run(write: bool, release: bool) -> anyhow::Result<()> {
    let valgrind = valgrind()?;
    let build = if release {
        Build::with(&["test", "--release", "-p", "parta-chat", "--lib", "--no-run"])?
    } else {
        Build::workspace()?
    };
    count(&valgrind, &build, write, release)
}

/// Returns the program that counts.
pub(crate) fn valgrind() -> anyhow::Result<PathBuf> {
    servers::local("valgrind", "valgrind", || servers::in_path("valgrind"))
}

/// Compares the instructions of a development build with the kept numbers.
pub(crate) fn check(valgrind: &Path, build: &Build) -> anyhow::Result<()> {
    count(valgrind, build, false, false)
}

fn count(valgrind: &Path, build: &Build, write: bool, release: bool) -> anyhow::Result<()> {
    // The unit tests of chat, in the build that the tests use: the number shows changes, not speed.
    let program = build.tests("parta_chat")?;
    let count = |messages, streams| callgrind(valgrind, program, messages, streams);
    let (few, many) = (MESSAGES.0, MESSAGES.0 + MESSAGES.1);
    let silent = count(many, 0)? - count(few, 0)?;
    let heard = count(many, STREAMS)? - count(few, STREAMS)?;
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    let found = BTreeMap::from([
        ("send", (silent as f64 / MESSAGES.1 as f64).round()),
        (
            "delivery",
            ((heard - silent) as f64 / (MESSAGES.1 * STREAMS) as f64).round(),
        ),
    ]);
    if release {
        for (name, number) in &found {
            println!("xtask: {name}: {number} instructions, optimized");
        }
        return Ok(());
    }
    let file = root().join(KEPT);
    if write {
        let mut text = "# Instructions of the server's part, without transport and database: `cargo xtask instructions --write`.\n".to_owned();
        for (name, number) in &found {
            text += &format!("{name} = {number}\n");
        }
        fs::write(&file, text)?;
    }
    let kept: BTreeMap<String, f64> = toml::from_str(&fs::read_to_string(&file)?)?;
    let mut grown = Vec::new();
    for (name, number) in &found {
        let was = *kept.get(*name).with_context(|| format!("{KEPT} has no {name}"))?;
        println!(
            "xtask: {name}: {number} instructions, {:.2} of the {was} kept",
            number / was
        );
        if *number > was * (1.0 + TOLERANCE) {
            grown.push(*name);
        }
    }
    ensure!(
        grown.is_empty(),
        "more instructions than {KEPT} allows: {}; mend it, or say why and keep the new ones by --write",
        grown.join(", ")
    );
    Ok(())
}

/// Instructions of the thread that serves, in one run.
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
        let said = String::from_utf8_lossy(&output.stdout);
        bail!("{} failed:\n{said}", describe(&command));
    }
    // The thread that serves does the most; the database's is another.
    let mut most = 0;
    for file in fs::read_dir(folder.path())? {
        let text = fs::read_to_string(file?.path())?;
        let total = text.lines().find_map(|line| line.strip_prefix("summary: "));
        most = most.max(total.and_then(|number| number.trim().parse().ok()).unwrap_or(0));
    }
    ensure!(most > 0, "callgrind tells no total");
    Ok(most)
}
