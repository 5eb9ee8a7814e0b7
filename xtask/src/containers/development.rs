use std::{fs, path::PathBuf};

use super::Engine;
use crate::build::Build;

/// Builds the program of the dev profile, with these features, as a file that a later build does not replace.
pub(crate) fn development(features: &[&str]) -> anyhow::Result<PathBuf> {
    let mut arguments = vec!["build", "--workspace", "--bin", "parta"];
    let joined = features.join(",");
    if !features.is_empty() {
        arguments.extend(["--features", &joined]);
    }
    let build = Build::with(&arguments)?;
    let folder = Engine::workspace();
    fs::create_dir_all(&folder)?;
    let copy = folder.join(if features.is_empty() {
        "parta"
    } else {
        "parta-upgraded"
    });
    fs::copy(build.binary("parta")?, &copy)?;
    Ok(copy)
}
