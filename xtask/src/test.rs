//! `cargo xtask test`.

use std::{
    io::{BufRead as _, BufReader},
    process::Stdio,
};

use anyhow::{Context as _, bail};

use crate::{answers, cargo, describe, servers::Servers};

pub(crate) fn run(rest: &[String]) -> anyhow::Result<()> {
    let servers = Servers::provide()?;
    let (variable, python) = crate::python::provide()?;
    let nextest = answers("cargo-nextest", "--version");
    let mut command = cargo();
    if nextest {
        command.args(["nextest", "run", "--no-fail-fast"]);
    } else {
        println!("xtask: cargo-nextest is not installed; `cargo test` runs the same tests more slowly");
        command.args(["test", "--no-fail-fast"]);
    }
    if !rest
        .iter()
        .any(|word| word == "-p" || word.starts_with("--package"))
    {
        command.arg("--workspace");
    }
    command.args(rest).env("CARGO_TERM_COLOR", "never");
    command.envs(servers.environment.iter().map(|(k, v)| (*k, v.as_str())));
    command.env(variable, python);
    println!("xtask: {}", describe(&command));
    // nextest reports on the standard error, cargo test on the standard output.
    if nextest {
        command.stderr(Stdio::piped());
    } else {
        command.stdout(Stdio::piped());
    }
    let mut child = command.spawn().context("cargo cannot be started")?;
    let output: Box<dyn std::io::Read> = match (child.stderr.take(), child.stdout.take()) {
        (Some(stderr), _) => Box::new(stderr),
        (None, Some(stdout)) => Box::new(stdout),
        (None, None) => bail!("the runner has no output"),
    };
    let mut count = Count::default();
    for line in BufReader::new(output).lines() {
        let line = line?;
        count.line(&line);
        println!("{line}");
    }
    let status = child.wait()?;
    drop(servers);
    count.print();
    if !status.success() {
        bail!("tests failed");
    }
    Ok(())
}

/// What a test's name says of where it runs: a part of its path, and how it is told.
const KINDS: [(&str, &str); 4] = [
    ("sqlite", "on SQLite"),
    ("postgres", "on PostgreSQL"),
    ("one_process", "on one process"),
    ("split", "on five processes"),
];

/// How many tests ran, and how many of them passed.
#[derive(Default)]
struct Count {
    kinds: [(usize, usize); KINDS.len()],
    all: (usize, usize),
    summed_up: bool,
}

impl Count {
    fn line(&mut self, line: &str) {
        let line = line.trim();
        // Failures are told again below nextest's summary.
        self.summed_up |= line.starts_with("Summary [");
        let Some((name, passed)) = outcome(line).filter(|_| !self.summed_up) else {
            return;
        };
        let add = |(ran, ok): &mut (usize, usize)| {
            *ran += 1;
            *ok += usize::from(passed);
        };
        add(&mut self.all);
        for ((part, _), count) in KINDS.iter().zip(&mut self.kinds) {
            if name.split([':', ' ']).any(|p| p == *part) {
                add(count);
            }
        }
    }

    fn print(&self) {
        for ((_, told), (ran, passed)) in KINDS.iter().zip(self.kinds) {
            println!("xtask: {told:<18} {ran:>5} ran, {passed:>5} passed");
        }
        println!(
            "xtask: {:<18} {:>5} ran, {:>5} passed",
            "in all", self.all.0, self.all.1
        );
    }
}

/// The test that a line tells of, and whether it passed: `PASS [ 0.1s] (1/9) crate a::test`, `test a::test ... ok`.
fn outcome(line: &str) -> Option<(&str, bool)> {
    if let Some(test) = line.strip_prefix("test ") {
        let (name, result) = test.rsplit_once(" ... ")?;
        return match result {
            "ok" => Some((name, true)),
            "FAILED" => Some((name, false)),
            _ => None,
        };
    }
    let (word, rest) = line.split_once(" [")?;
    let name = rest.split_once("] ")?.1;
    match word {
        "PASS" => Some((name, true)),
        "FAIL" | "TIMEOUT" | "ABORT" | "SIGABRT" | "SIGSEGV" | "LEAK-FAIL" => Some((name, false)),
        "LEAK" => Some((name, true)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_are_counted_by_the_parts_of_their_names() {
        let mut count = Count::default();
        for line in [
            "        PASS [   0.039s] (1/4) parta-chat tests::races::a_message::sqlite",
            "        FAIL [   1.039s] (2/4) parta-chat tests::races::a_message::postgres",
            "        PASS [   0.039s] (3/4) parta-integration-tests::journeys joining::split",
            "        PASS [   0.039s] (4/4) parta-testkit logs::tests_of_one_process_hear_each_other",
            "     Summary [   1.025s] 4 tests run: 3 passed, 1 failed, 0 skipped",
            "        FAIL [   1.039s] (2/4) parta-chat tests::races::a_message::postgres",
        ] {
            count.line(line);
        }
        assert_eq!(count.kinds, [(1, 1), (1, 0), (0, 0), (1, 1)]);
        assert_eq!(count.all, (4, 3));
    }

    #[test]
    fn the_output_of_cargo_test_counts_alike() {
        let mut count = Count::default();
        for line in [
            "running 3 tests",
            "test a_message::sqlite ... ok",
            "test a_message::postgres ... FAILED",
            "test slow ... ignored",
            "test result: FAILED. 1 passed; 1 failed; 1 ignored; 0 measured; 0 filtered out",
        ] {
            count.line(line);
        }
        assert_eq!(count.kinds[..2], [(1, 1), (1, 0)]);
        assert_eq!(count.all, (2, 1));
    }
}
