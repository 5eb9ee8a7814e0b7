//! `cargo xtask test`: provides servers, runs the tests and counts them by database and topology.

use std::{
    collections::BTreeSet,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context as _, bail, ensure};

use crate::{
    cargo, describe, outside_of_package, reasons, root,
    servers::{Servers, Storage},
    tools,
};

/// The selection of tests.
#[derive(clap::Args, Default)]
pub(crate) struct Options {
    /// Runs the tests of one package. The whole workspace is built, because a build of one package selects
    /// other features of the dependencies and compiles them again.
    #[arg(short, long)]
    package: Option<String>,
    /// Arguments for the test runner, for example a part of a test's name, or `-E` with a filter of nextest.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    runner_arguments: Vec<String>,
}

/// Runs tests with nextest, or with `cargo test` if nextest is missing and cannot be installed.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    match tools::wheel("cargo-nextest") {
        Ok(nextest) => run_by(Some(&nextest), options),
        Err(error) => {
            println!("xtask: {error:#}; `cargo test` runs the same tests more slowly");
            run_by(None, options)
        }
    }
}

/// Runs all tests with nextest, or with `cargo test` if it is `None`.
pub(crate) fn all(nextest: Option<&Path>) -> anyhow::Result<()> {
    run_by(nextest, &Options::default())
}

/// Returns the command of the test runner. Both runners use the artifacts of
/// [`crate::build::Build::workspace`].
fn runner(nextest: Option<&Path>, options: &Options) -> anyhow::Result<Command> {
    let mut command;
    if let Some(nextest) = nextest {
        command = Command::new(nextest);
        command.current_dir(root());
        outside_of_package(&mut command);
        command.args(["nextest", "run", "--no-fail-fast", "--workspace"]);
        if let Some(package) = &options.package {
            // nextest runs the union of several `-E` filters, so a second one would not restrict the first.
            ensure!(
                !options
                    .runner_arguments
                    .iter()
                    .any(|argument| argument.starts_with("-E") || argument.starts_with("--filter-expr")),
                "give the package in the filter: -E 'package({package}) and ...'"
            );
            command.arg("-E").arg(format!("package({package})"));
        }
    } else {
        command = cargo();
        command.args(["test", "--no-fail-fast"]);
        match &options.package {
            Some(package) => command.args(["--package", package]),
            None => command.arg("--workspace"),
        };
    }
    command
        .args(&options.runner_arguments)
        .env("CARGO_TERM_COLOR", "never");
    Ok(command)
}

fn run_by(nextest: Option<&Path>, options: &Options) -> anyhow::Result<()> {
    let mut command = runner(nextest, options)?;
    let servers = Servers::provide(Storage::Memory)?;
    let (variable, python) = crate::python::provide()?;
    command.envs(servers.environment.iter().map(|(k, v)| (*k, v.as_str())));
    command.env(variable, python);
    command.env(reasons::RECORDS, reasons::empty_folder()?);
    println!("xtask: {}", describe(&command));
    // nextest reports on the standard error, cargo test on the standard output.
    if nextest.is_some() {
        command.stderr(Stdio::piped());
    } else {
        command.stdout(Stdio::piped());
    }
    let mut child = command.spawn().context("the test runner cannot be started")?;
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

/// The kinds of tests that the summary counts: a part of the test's path, and the text of the summary.
const KINDS: [(&str, &str); 4] = [
    ("sqlite", "on SQLite"),
    ("postgres", "on PostgreSQL"),
    ("one_process", "on one process"),
    ("split", "on five processes"),
];

/// Numbers of tests that ran and that passed.
#[derive(Default)]
struct Count {
    kinds: [(usize, usize); KINDS.len()],
    all: (usize, usize),
    /// Names of counted tests, because nextest reports each failure twice.
    counted: BTreeSet<String>,
    is_nextest_output: bool,
}

impl Count {
    fn line(&mut self, line: &str) {
        let line = line.trim();
        let Some((name, passed)) = parse_result(line) else {
            return;
        };
        // nextest also prints the output of a failed test, which contains a line in the format of `cargo
        // test`.
        let is_nextest_line = !line.starts_with("test ");
        self.is_nextest_output |= is_nextest_line;
        if self.is_nextest_output && !is_nextest_line {
            return;
        }
        if !self.counted.insert(name.to_owned()) {
            return;
        }
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
        for ((_, label), (ran, passed)) in KINDS.iter().zip(self.kinds) {
            println!("xtask: {label:<18} {ran:>5} ran, {passed:>5} passed");
        }
        println!(
            "xtask: {:<18} {:>5} ran, {:>5} passed",
            "total", self.all.0, self.all.1
        );
    }
}

/// Parses a line of output. Returns the name of the test and whether it passed. Examples:
/// `PASS [ 0.1s] (1/9) crate a::test`, `test a::test ... ok`.
fn parse_result(line: &str) -> Option<(&str, bool)> {
    if let Some(test) = line.strip_prefix("test ") {
        let (name, result) = test.rsplit_once(" ... ")?;
        return match result {
            "ok" => Some((name, true)),
            "FAILED" => Some((name, false)),
            _ => None,
        };
    }
    let (result, rest) = line.split_once(" [")?;
    let name = rest.split_once("] ")?.1;
    match result {
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
    fn nextest_results_are_counted_by_kind() {
        let mut count = Count::default();
        for line in [
            "        PASS [   0.039s] (1/4) parta-chat tests::races::a_message::sqlite",
            "        FAIL [   1.039s] (2/4) parta-chat tests::races::a_message::postgres",
            "        PASS [   0.039s] (3/4) parta-integration-tests::journeys joining::split",
            "        PASS [   0.039s] (4/4) parta-testkit logs::tests_of_one_process_hear_each_other",
            "    test tests::races::a_message::postgres ... FAILED",
            "     Summary [   1.025s] 4 tests run: 3 passed, 1 failed, 0 skipped",
            "        FAIL [   1.039s] (2/4) parta-chat tests::races::a_message::postgres",
        ] {
            count.line(line);
        }
        assert_eq!(count.kinds, [(1, 1), (1, 0), (0, 0), (1, 1)]);
        assert_eq!(count.all, (4, 3));
    }

    fn runner_arguments(
        nextest: Option<&str>,
        package: Option<&str>,
        arguments: &[&str],
    ) -> anyhow::Result<Vec<String>> {
        let options = Options {
            package: package.map(str::to_owned),
            runner_arguments: arguments.iter().map(|argument| (*argument).to_owned()).collect(),
        };
        let command = runner(nextest.map(Path::new), &options)?;
        Ok(command
            .get_args()
            .map(|argument| argument.to_string_lossy().into_owned())
            .collect())
    }

    #[test]
    fn package_becomes_a_filter_of_the_workspace() -> anyhow::Result<()> {
        let arguments = runner_arguments(Some("cargo-nextest"), Some("parta-chat"), &["races"])?;
        assert_eq!(
            arguments[3..],
            ["--workspace", "-E", "package(parta-chat)", "races"]
        );
        Ok(())
    }

    #[test]
    fn package_together_with_a_filter_is_rejected() {
        let error =
            runner_arguments(Some("cargo-nextest"), Some("parta-chat"), &["-E", "test(races)"]).unwrap_err();
        assert!(error.to_string().contains("package(parta-chat) and"), "{error}");
    }

    #[test]
    fn cargo_test_results_are_counted_by_kind() {
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
