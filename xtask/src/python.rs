//! Python environments: grpcio-tools for the test of a client in another language, and the wheels of
//! [`crate::tools`].
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    execute, root,
    servers::{self, PYTHON},
    target,
};

const REQUIREMENTS: &str = "integration-tests/python/requirements.txt";

/// Returns the given interpreter, or one in a virtual environment that is created once.
pub(crate) fn provide() -> anyhow::Result<(&'static str, String)> {
    if let Ok(python) = std::env::var(PYTHON) {
        println!("xtask: Python: {python}, from {PYTHON}");
        return Ok((PYTHON, python));
    }
    let python = environment("python", REQUIREMENTS, "grpc_tools")?.join("python");
    println!("xtask: Python: {}", python.display());
    Ok((PYTHON, python.display().to_string()))
}

/// Returns the `bin` directory of a virtual environment below the target directory. The environment is
/// created again when the requirements file has changed, or when its interpreter cannot import `module`.
pub(crate) fn environment(name: &str, requirements: &str, module: &str) -> anyhow::Result<PathBuf> {
    let folder = target().join(name);
    let (bin, installed_for) = (folder.join("bin"), folder.join("requirements.txt"));
    let python = bin.join("python");
    let required = fs::read(root().join(requirements))?;
    if fs::read(&installed_for).ok().as_ref() != Some(&required) || !works(&python, module) {
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
        execute(install.arg(root().join(requirements)))?;
        fs::write(installed_for, required)?;
    }
    Ok(bin)
}

fn works(python: &Path, modules: &str) -> bool {
    let import = format!("import {modules}");
    let output = Command::new(python).args(["-c", &import]).output();
    output.is_ok_and(|output| output.status.success())
}
