//! Checks of the dependencies by `cargo-shear` and `cargo-deny`.

use std::{fs, path::Path, process::Command};

use anyhow::Context as _;

use crate::{execute, root};

/// Fails for dependencies that no source of their package names, and for those that only tests name.
pub(crate) fn unused(shear: &Path) -> anyhow::Result<()> {
    execute(Command::new(shear).arg("shear").current_dir(root()))
}

/// Duplicates, licenses and sources by deny.toml. Works without network once the crates are downloaded.
pub(crate) fn allowed(deny: &Path) -> anyhow::Result<()> {
    let mut check = program(deny);
    execute(check.args(["--log-level", "error", "check", "bans", "licenses", "sources"]))
}

/// Security advisories and yanked versions. Where the advisory database cannot be fetched, yanked versions
/// are checked without it, and the returned line says so.
pub(crate) fn advisories(deny: &Path) -> anyhow::Result<Option<String>> {
    let fetched = program(deny)
        .args(["--log-level", "off", "fetch", "db"])
        .output()?;
    if fetched.status.success() {
        let mut check = program(deny);
        execute(
            check
                .args(["--log-level", "error", "check"])
                .args(DENIED)
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

/// A registry index that cannot be read must not look like an index without yanked versions.
const DENIED: [&str; 4] = ["-D", "index-failure", "-D", "index-cache-load-failure"];

/// An advisory for a crate that does not exist: `cargo-deny` refuses an empty database.
const PLACEHOLDER: &str = "```toml\n[advisory]\nid = \"RUSTSEC-2000-0001\"\npackage = \"placeholder\"\n\
    date = \"2000-01-01\"\n\n[versions]\npatched = []\n```\n\n# Placeholder\n\nNothing.\n";
const PLACEHOLDER_URL: &str = "https://advisories.invalid/placeholder";

/// `cargo-deny` checks yanked versions only together with an advisory database, so it gets one that says
/// nothing: a local repository, which git uses instead of the address that the configuration names.
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
    execute(check.args(DENIED).arg("advisories"))
}

fn program(deny: &Path) -> Command {
    let mut command = Command::new(deny);
    command.current_dir(root());
    command
}
