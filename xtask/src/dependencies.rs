//! Checks the dependencies with `cargo-shear` and `cargo-deny`.

use std::{fs, path::Path, process::Command};

use anyhow::Context as _;

use crate::{execute, root};

/// Fails for dependencies that no source of their package names, and for those that only tests name.
pub(crate) fn unused(shear: &Path) -> anyhow::Result<()> {
    execute(Command::new(shear).arg("shear").current_dir(root()))
}

/// Makes `cargo-deny` fail for a skip of deny.toml whose crate has one version, or is not used at all.
const DENY_UNNEEDED_SKIPS: [&str; 4] = ["-D", "unnecessary-skip", "-D", "unmatched-skip"];

/// Checks duplicates, licenses and sources against deny.toml. Needs no network once the crates are
/// downloaded.
pub(crate) fn allowed(deny: &Path) -> anyhow::Result<()> {
    let mut check = program(deny);
    execute(
        check
            .args(["--log-level", "error", "check"])
            .args(DENY_UNNEEDED_SKIPS)
            .args(["bans", "licenses", "sources"]),
    )
}

/// Checks security advisories and yanked versions. If the advisory database cannot be fetched, only yanked
/// versions are checked, and the returned line says so.
pub(crate) fn advisories(deny: &Path) -> anyhow::Result<Option<String>> {
    let fetched = program(deny)
        .args(["--log-level", "off", "fetch", "db"])
        .output()?;
    if fetched.status.success() {
        let mut check = program(deny);
        execute(
            check
                .args(["--log-level", "error", "check"])
                .args(DENY_INDEX_FAILURES)
                .arg("advisories"),
        )?;
        return Ok(None);
    }
    yanked(deny)?;
    Ok(Some(
        "security advisories did NOT run: their database cannot be fetched (yanked versions were checked)"
            .to_owned(),
    ))
}

/// Makes `cargo-deny` fail if a registry index cannot be read, because it would find no yanked versions then.
const DENY_INDEX_FAILURES: [&str; 4] = ["-D", "index-failure", "-D", "index-cache-load-failure"];

/// An advisory for a crate that does not exist, because `cargo-deny` rejects an empty database.
const PLACEHOLDER: &str = "```toml\n[advisory]\nid = \"RUSTSEC-2000-0001\"\npackage = \"placeholder\"\n\
    date = \"2000-01-01\"\n\n[versions]\npatched = []\n```\n\n# Placeholder\n\nNothing.\n";
const PLACEHOLDER_URL: &str = "https://advisories.invalid/placeholder";

/// Checks yanked versions only. `cargo-deny` needs an advisory database for this, so it gets a local
/// repository with one placeholder, which git uses instead of the URL in the configuration.
fn yanked(deny: &Path) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let database = folder.path().join("database");
    let crates = database.join("crates/placeholder");
    fs::create_dir_all(&crates)?;
    fs::write(crates.join("RUSTSEC-2000-0001.md"), PLACEHOLDER)?;
    let git = |arguments: &[&str]| {
        let mut git = Command::new("git");
        git.current_dir(&database).args(["-c", "commit.gpgsign=false"]);
        git.args(["-c", "user.name=xtask", "-c", "user.email=xtask@localhost"]);
        execute(git.args(arguments))
    };
    git(&["init", "--quiet", "--initial-branch=main"])?;
    git(&["add", "."])?;
    git(&["commit", "--quiet", "--message=placeholder"])?;

    let mut config: toml::Table = toml::from_str(&fs::read_to_string(root().join("deny.toml"))?)?;
    let advisories = config.get_mut("advisories").and_then(toml::Value::as_table_mut);
    let advisories = advisories.context("deny.toml has no advisories")?;
    advisories.insert(
        "db-path".to_owned(),
        folder.path().join("fetched").display().to_string().into(),
    );
    advisories.insert("db-urls".to_owned(), vec![PLACEHOLDER_URL].into());
    let file = folder.path().join("deny.toml");
    fs::write(&file, toml::to_string(&config)?)?;

    let mut check = program(deny);
    check
        .env("GIT_CONFIG_COUNT", "1")
        .env(
            "GIT_CONFIG_KEY_0",
            format!("url.file://{}.insteadOf", database.display()),
        )
        .env("GIT_CONFIG_VALUE_0", PLACEHOLDER_URL);
    check
        .args(["--log-level", "error", "--config"])
        .arg(&file)
        .arg("check");
    execute(check.args(DENY_INDEX_FAILURES).arg("advisories"))
}

fn program(deny: &Path) -> Command {
    let mut command = Command::new(deny);
    command.current_dir(root());
    command
}
