use std::path::{Path, PathBuf};

/// Returns the path of data that others have published, below `../shared/data` beside the repository. It is
/// not part of the project: a test that uses it checks the same on data of its own. Returns `None` and prints
/// a line if the data is absent.
#[expect(clippy::print_stderr, reason = "a test says which data it did not check")]
pub fn shared_data(path: &str) -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data");
    let found = folder.join(path);
    if found.exists() {
        return Some(found);
    }
    eprintln!("not found, so not checked: {path} in ../shared/data");
    None
}
