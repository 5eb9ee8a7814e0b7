//! Checks the protos with `buf`.

use std::{path::Path, process::Command};

use crate::{describe, execute, root};

/// Checks the rules STANDARD and COMMENTS of proto/buf.yaml.
pub(crate) fn lint(buf: &Path) -> anyhow::Result<()> {
    execute(Command::new(buf).arg("lint").current_dir(root().join("proto")))
}

/// Compares the protos with the parent commit. Advisory until the first release: differences are printed, and
/// the returned line says that there are some, or that the comparison was not possible.
pub(crate) fn breaking(buf: &Path) -> anyhow::Result<Option<String>> {
    let mut parent = Command::new("git");
    parent.args(["rev-parse", "--verify", "--quiet", "HEAD~1"]);
    let parent = parent.current_dir(root()).output();
    let Some(parent) = parent.ok().filter(|output| output.status.success()) else {
        return Ok(Some(
            "buf breaking did NOT run: this clone has no parent commit to compare with".to_owned(),
        ));
    };
    let parent = String::from_utf8_lossy(&parent.stdout).trim().to_owned();
    let mut compare = Command::new(buf);
    compare
        .args(["breaking", "--against"])
        .arg(format!("../.git#ref={parent},subdir=proto"))
        .current_dir(root().join("proto"));
    println!("xtask: {}", describe(&compare));
    let output = compare.output()?;
    if output.status.success() {
        return Ok(None);
    }
    let differences = String::from_utf8_lossy(&output.stdout);
    print!("{differences}{}", String::from_utf8_lossy(&output.stderr));
    // `buf` exits with 100 if it has compared and found differences.
    Ok(Some(if output.status.code() == Some(100) {
        format!(
            "buf breaking found {} incompatible changes since the parent commit (advisory until the first release)",
            differences.lines().count()
        )
    } else {
        format!("buf breaking did NOT run: {}", output.status)
    }))
}
