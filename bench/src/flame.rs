//! Flame graphs of the processor time of a variant.
//!
//! Needs `perf`, which may require root. Stacks are unwound with the DWARF tables that every build contains,
//! so that the release binary and earlier builds can be profiled too.
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

/// Samples per second and processor. A prime number, so that samples do not coincide with periodic timers.
const SAMPLES_PER_SECOND: &str = "997";
/// Unwinding method of `perf`, and the number of bytes of the stack that it copies for each sample.
const CALL_GRAPH: &str = "dwarf,16384";
/// Frames narrower than this percentage of the graph are omitted to keep it readable.
const MIN_WIDTH_PERCENT: f64 = 0.4;

/// A running recording of `perf`.
pub(crate) struct Recording {
    perf: Child,
    samples: tempfile::TempDir,
}

impl Recording {
    /// Starts to sample all threads of these processes.
    pub(crate) fn start(processes: &[u32]) -> anyhow::Result<Self> {
        let samples = tempfile::tempdir()?;
        let ids: Vec<_> = processes.iter().map(u32::to_string).collect();
        let perf = Command::new("perf")
            .args([
                "record",
                "--quiet",
                "--event",
                "cpu-clock",
                "--freq",
                SAMPLES_PER_SECOND,
            ])
            .args(["--call-graph", CALL_GRAPH, "--pid", &ids.join(","), "--output"])
            .arg(samples.path().join("data"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("perf is needed for a flame graph (Debian: linux-perf)")?;
        Ok(Self { perf, samples })
    }

    /// Stops the recording and writes the flame graph.
    pub(crate) fn draw(mut self, title: &str, target: &Path) -> anyhow::Result<()> {
        let interrupted = Command::new("kill")
            .args(["-INT", &self.perf.id().to_string()])
            .status()?;
        ensure!(interrupted.success(), "perf ended before the variant");
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
        let output = BufReader::new(script.stdout.take().context("no pipe")?);
        let mut folded = Vec::new();
        perf::Folder::default().collapse(output, &mut folded)?;
        ensure!(script.wait()?.success(), "perf cannot read its samples");
        let folded = String::from_utf8(folded)?;
        ensure!(
            !folded.is_empty(),
            "perf recorded no samples; check that this user may run `perf record`"
        );
        let lines: Vec<String> = folded.lines().map(without_runtime).collect();
        let mut options = flamegraph::Options::default();
        options.title = title.to_owned();
        options.min_width = MIN_WIDTH_PERCENT;
        options.deterministic = true;
        let writer = BufWriter::new(File::create(target).with_context(|| target.display().to_string())?);
        flamegraph::from_lines(&mut options, lines.iter().map(String::as_str), writer)?;
        println!("bench: {}", target.display());
        Ok(())
    }
}

/// Returns the path of a variant's flame graph.
pub(crate) fn path(folder: &Path, case: &str, variant: &str) -> PathBuf {
    folder.join(format!("{case}-{variant}.svg"))
}

/// Removes from a folded stack the frames that the runtime adds below every task.
fn without_runtime(line: &str) -> String {
    const RUNTIME_FRAMES: &[&str] = &[
        "std::sys::backtrace",
        "std::panicking",
        "core::ops::function",
        "start_thread",
        "clone3",
    ];
    let (stack, count) = line.rsplit_once(' ').unwrap_or((line, "0"));
    let frames: Vec<_> = stack
        .split(';')
        .filter(|frame| !RUNTIME_FRAMES.iter().any(|runtime| frame.contains(runtime)))
        .collect();
    format!("{} {count}", frames.join(";"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runtime_frames_are_removed() {
        let line = "parta;clone3;start_thread;std::panicking::catch_unwind;parta_chat::writer;[libc.so] 12";
        assert_eq!(without_runtime(line), "parta;parta_chat::writer;[libc.so] 12");
    }
}
