//! Where the processor time of a side goes, as a flame graph.
//!
//! The kernel's sampler is asked by its own tool: `perf` has to be installed, and may want root. Stacks are
//! unwound by the tables that every build carries, so that any binary of the suite can be looked at, also
//! an older one.
use std::{
    fs::File,
    io::{BufReader, BufWriter},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use anyhow::{Context as _, ensure};
use inferno::{
    collapse::{Collapse as _, perf},
    flamegraph,
};

/// Samples a second and processor: not a divisor of what happens by the clock.
const RATE: &str = "997";
/// So much of a stack is kept of each sample, in bytes.
const STACK: &str = "dwarf,16384";
/// Frames with a smaller share of the samples, in percent of the width, are left out: a graph is read by
/// people.
const LEAST: f64 = 0.4;

/// Processes that are being sampled.
pub(crate) struct Recording {
    perf: Child,
    samples: tempfile::TempDir,
}

impl Recording {
    /// Samples these processes with all their threads from now on.
    pub(crate) fn start(processes: &[u32]) -> anyhow::Result<Self> {
        let samples = tempfile::tempdir()?;
        let ids: Vec<_> = processes.iter().map(u32::to_string).collect();
        let perf = Command::new("perf")
            .args(["record", "--quiet", "--event", "cpu-clock", "--freq", RATE])
            .args(["--call-graph", STACK, "--pid", &ids.join(","), "--output"])
            .arg(samples.path().join("data"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("perf is needed for a flame graph (Debian: linux-perf)")?;
        Ok(Self { perf, samples })
    }

    /// Ends the sampling and draws what was found.
    pub(crate) fn draw(mut self, title: &str, into: &Path) -> anyhow::Result<()> {
        let interrupted = Command::new("kill")
            .args(["-INT", &self.perf.id().to_string()])
            .status()?;
        ensure!(interrupted.success(), "perf had ended before the side did");
        self.perf.wait()?;
        let mut script = Command::new("perf")
            .args([
                "script",
                "--no-inline",
                "--fields",
                "comm,pid,tid,time,event,ip,sym,dso",
            ])
            .arg("--input")
            .arg(self.samples.path().join("data"))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let told = BufReader::new(script.stdout.take().context("piped")?);
        let mut folded = Vec::new();
        perf::Folder::default().collapse(told, &mut folded)?;
        ensure!(script.wait()?.success(), "perf cannot read its own samples");
        let folded = String::from_utf8(folded)?;
        ensure!(
            !folded.is_empty(),
            "nothing was sampled: `perf record` may not do so here"
        );
        let lines: Vec<String> = folded.lines().map(without_runtime).collect();
        let mut options = flamegraph::Options::default();
        options.title = title.to_owned();
        options.min_width = LEAST;
        options.deterministic = true;
        let drawn = BufWriter::new(File::create(into).with_context(|| into.display().to_string())?);
        flamegraph::from_lines(&mut options, lines.iter().map(String::as_str), drawn)?;
        println!("bench: {}", into.display());
        Ok(())
    }
}

/// Where the graph of a side belongs.
pub(crate) fn path(folder: &Path, case: &str, side: &str) -> PathBuf {
    folder.join(format!("{case}-{side}.svg"))
}

/// A folded stack without the frames that stand below every task of the runtime and say nothing.
fn without_runtime(line: &str) -> String {
    const DULL: &[&str] = &[
        "std::sys::backtrace",
        "std::panicking",
        "core::ops::function",
        "start_thread",
        "clone3",
    ];
    let (stack, count) = line.rsplit_once(' ').unwrap_or((line, "0"));
    let kept: Vec<_> = stack
        .split(';')
        .filter(|frame| !DULL.iter().any(|dull| frame.contains(dull)))
        .collect();
    format!("{} {count}", kept.join(";"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_that_tell_nothing_are_left_out() {
        let line = "parta;clone3;start_thread;std::panicking::catch_unwind;parta_chat::writer;[libc.so] 12";
        assert_eq!(without_runtime(line), "parta;parta_chat::writer;[libc.so] 12");
    }
}
