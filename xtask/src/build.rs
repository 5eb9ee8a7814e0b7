//! The build of the workspace. Every check runs the programs of this build, because a build of one package
//! selects other features and compiles tokio, sqlx and sea-orm again.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::{Context as _, ensure};
use serde_json::Value;

use crate::{cargo, describe};

pub(crate) struct Build(Vec<Program>);

struct Program {
    target: String,
    /// Whether the program runs the tests of its target.
    test: bool,
    path: PathBuf,
}

impl Build {
    /// Builds all targets of all packages in the dev profile. `cargo nextest run --workspace` uses the same
    /// artifacts.
    pub(crate) fn workspace() -> anyhow::Result<Self> {
        Self::with(&["build", "--workspace", "--all-targets"])
    }

    /// Runs cargo with these arguments and collects the programs that it reports.
    pub(crate) fn with(arguments: &[&str]) -> anyhow::Result<Self> {
        let mut command = cargo();
        command
            .args(arguments)
            .args(["--quiet", "--message-format=json-render-diagnostics"]);
        println!("xtask: {}", describe(&command));
        let output = command
            .stderr(Stdio::inherit())
            .output()
            .context("cargo cannot be started")?;
        ensure!(output.status.success(), "{} failed", describe(&command));
        Ok(Self(programs(&String::from_utf8_lossy(&output.stdout))))
    }

    /// Returns the program of a binary target.
    pub(crate) fn binary(&self, target: &str) -> anyhow::Result<&Path> {
        self.find(target, false)
    }

    /// Returns the program that runs the tests of a target. Cargo writes the names of libraries with
    /// underscores.
    pub(crate) fn tests(&self, target: &str) -> anyhow::Result<&Path> {
        self.find(target, true)
    }

    fn find(&self, target: &str, test: bool) -> anyhow::Result<&Path> {
        let program = self.0.iter().find(|p| p.target == target && p.test == test);
        let kind = if test { "tests of" } else { "binary" };
        program
            .map(|program| program.path.as_path())
            .with_context(|| format!("the build has no {kind} {target}"))
    }
}

/// Reads cargo's messages, one JSON object per line.
fn programs(messages: &str) -> Vec<Program> {
    let program = |line: &str| {
        let message: Value = serde_json::from_str(line).ok()?;
        Some(Program {
            target: message["target"]["name"].as_str()?.to_owned(),
            test: message["profile"]["test"].as_bool()?,
            path: message["executable"].as_str()?.into(),
        })
    };
    messages.lines().filter_map(program).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MESSAGES: &str = concat!(
        r#"{"reason":"compiler-artifact","target":{"kind":["lib"],"name":"parta_chat"},"profile":{"test":false},"executable":null}"#,
        "\n",
        r#"{"reason":"compiler-artifact","target":{"kind":["lib"],"name":"parta_chat"},"profile":{"test":true},"executable":"/t/parta_chat-1"}"#,
        "\n",
        r#"{"reason":"compiler-artifact","target":{"kind":["bin"],"name":"parta"},"profile":{"test":true},"executable":"/t/parta-2"}"#,
        "\n",
        r#"{"reason":"compiler-artifact","target":{"kind":["bin"],"name":"parta"},"profile":{"test":false},"executable":"/t/parta"}"#,
        "\n",
        r#"{"reason":"build-finished","success":true}"#,
    );

    #[test]
    fn programs_are_found_by_target_and_kind() -> anyhow::Result<()> {
        let build = Build(programs(MESSAGES));
        assert_eq!(build.binary("parta")?, Path::new("/t/parta"));
        assert_eq!(build.tests("parta")?, Path::new("/t/parta-2"));
        assert_eq!(build.tests("parta_chat")?, Path::new("/t/parta_chat-1"));
        Ok(())
    }

    #[test]
    fn missing_program_is_an_error() {
        let build = Build(programs(MESSAGES));
        let error = build.binary("parta_chat").map(Path::to_path_buf).unwrap_err();
        assert_eq!(error.to_string(), "the build has no binary parta_chat");
    }
}
