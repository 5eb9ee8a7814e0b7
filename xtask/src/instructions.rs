//! `cargo xtask instructions`: what the server's part of one send and of one delivery costs, counted by callgrind. Noise
//! does not move the number, so that it can be held to what it was.
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, bail, ensure};

use crate::{cargo, describe, root, servers::local};

/// Where the numbers are kept that are held to.
const KEPT: &str = "bench/instructions.toml";
/// Compilers agree, libraries choose by processor: more than this share is a change of ours.
const TOLERANCE: f64 = 0.10;
/// Messages of the shorter run, and how many more the longer one sends.
const MESSAGES: (u64, u64) = (100, 400);
/// Streams that listen in the run for deliveries.
const STREAMS: u64 = 50;

/// Counts, prints, and fails where a number has grown by more than the tolerance; `write` keeps the numbers instead.
/// `release` only prints: those of the optimized build, which takes its time, and are what a user pays.
pub(crate) fn run(write: bool, release: bool) -> anyhow::Result<()> {
    let valgrind = local("valgrind", "valgrind", || in_path("valgrind"))?;
    let program = build(release)?;
    let count = |messages, streams| callgrind(&valgrind, &program, messages, streams);
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

/// The tests of chat, as they are built for the tests: what is counted tells of changes, not of speed.
fn build(release: bool) -> anyhow::Result<PathBuf> {
    let mut command = cargo();
    command.args(["test", "--quiet", "-p", "parta-chat", "--lib", "--no-run"]);
    if release {
        command.arg("--release");
    }
    command.arg("--message-format=json");
    println!("xtask: {}", describe(&command));
    let output = command.stderr(std::process::Stdio::inherit()).output()?;
    ensure!(output.status.success(), "the tests of chat do not build");
    let text = String::from_utf8_lossy(&output.stdout);
    let mut programs = text.lines().filter_map(|line| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        let ours = message["target"]["name"] == "parta_chat" && message["profile"]["test"] == true;
        message["executable"].as_str().filter(|_| ours).map(PathBuf::from)
    });
    programs.next_back().context("cargo names no test program")
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

fn in_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|folder| folder.join(program))
        .find(|file| file.is_file())
}
