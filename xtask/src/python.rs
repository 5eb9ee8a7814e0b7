//! A Python with grpcio-tools, for the test of a client in another language.
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{execute, root, servers};

/// Environment variable with an interpreter that has what `requirements.txt` names.
const PYTHON: &str = "PARTA_TEST_PYTHON";
const REQUIREMENTS: &str = "integration-tests/python/requirements.txt";

/// The given interpreter, or one in an environment of its own that is made once.
pub(crate) fn provide() -> anyhow::Result<(&'static str, String)> {
    if let Ok(python) = std::env::var(PYTHON) {
        println!("xtask: Python: the given one ({PYTHON})");
        return Ok((PYTHON, python));
    }
    let folder = target().join("python");
    let (python, made_for) = (folder.join("bin/python"), folder.join("requirements.txt"));
    let wanted = fs::read(root().join(REQUIREMENTS))?;
    if fs::read(&made_for).ok().as_ref() != Some(&wanted) || !works(&python, "grpc_tools") {
        let base = servers::local("python3 with venv", "python3-venv", || {
            let python = PathBuf::from("python3");
            works(&python, "venv, ensurepip").then_some(python)
        })?;
        execute(Command::new(base).args(["-m", "venv", "--clear"]).arg(&folder))?;
        let mut install = Command::new(&python);
        install.args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "-r",
        ]);
        execute(install.arg(root().join(REQUIREMENTS)))?;
        fs::write(made_for, wanted)?;
    }
    println!("xtask: Python: {}", python.display());
    Ok((PYTHON, python.display().to_string()))
}

fn works(python: &Path, modules: &str) -> bool {
    let import = format!("import {modules}");
    let output = Command::new(python).args(["-c", &import]).output();
    output.is_ok_and(|output| output.status.success())
}

/// The folder of what is built.
fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}
