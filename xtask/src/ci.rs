//! `cargo xtask ci`.

use std::{env, fs, path::PathBuf, process::Command};

use crate::{answers, cargo, docs, execute, instructions, requirements, root, test};

const BUF: &str = "@bufbuild/buf@1.75.0";

pub(crate) fn run() -> anyhow::Result<()> {
    let mut remarks = Vec::new();
    execute(cargo().args(["fmt", "--all", "--check"]))?;
    execute(cargo().args([
        "clippy",
        "--workspace",
        "--all-targets",
        "--quiet",
        "--",
        "-D",
        "warnings",
    ]))?;
    remarks.extend(proto_lint()?);
    remarks.extend(licenses()?);
    docs::generate(true)?;
    docs::truth()?;
    requirements::run()?;
    instructions::run(false, false)?;
    test::run(&[])?;
    for remark in remarks {
        println!("xtask: {remark}");
    }
    println!("xtask: all green");
    Ok(())
}

/// Where tools lie that are no crates: with what is built.
fn tools() -> PathBuf {
    let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
    target.join("tools")
}

/// buf's STANDARD and COMMENTS rules. Its binary comes as a package of the npm registry.
fn proto_lint() -> anyhow::Result<Option<String>> {
    let buf = tools().join("node_modules").join(".bin").join("buf");
    if !buf.exists() {
        if !answers("npm", "--version") {
            return Ok(Some(
                "buf lint did NOT run: there is no npm on this machine".to_owned(),
            ));
        }
        fs::create_dir_all(tools())?;
        let mut npm = Command::new("npm");
        npm.args(["install", "--no-audit", "--no-fund", "--silent", "--prefix"]);
        if execute(npm.arg(tools()).arg(BUF)).is_err() {
            return Ok(Some("buf lint did NOT run: no npm registry answers".to_owned()));
        }
    }
    execute(Command::new(&buf).arg("lint").current_dir(root().join("proto")))?;
    Ok(None)
}

/// Licenses, sources and advisories by deny.toml.
fn licenses() -> anyhow::Result<Option<String>> {
    if !answers("cargo-deny", "--version") {
        return Ok(Some("cargo deny did NOT run: it is not installed".to_owned()));
    }
    execute(cargo().args([
        "deny",
        "--log-level",
        "error",
        "check",
        "bans",
        "licenses",
        "sources",
    ]))?;
    Ok(None)
}
