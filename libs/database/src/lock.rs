use std::{
    fs::{File, OpenOptions},
    path::{Path, PathBuf},
    time::Duration,
};

use fs4::fs_std::FileExt;

use crate::StorageError;

/// Locks a database file against other processes until it is dropped.
#[derive(Debug)]
pub(crate) struct FileLock(#[expect(dead_code, reason = "held for its drop")] File);

const ATTEMPTS: u32 = 10;

impl FileLock {
    /// Acquires the lock. Waits up to one second for a previous process that is exiting.
    pub(crate) async fn take(database: &Path) -> Result<Self, StorageError> {
        let mut name = database.as_os_str().to_owned();
        name.push(".lock");
        let path = PathBuf::from(name);
        let fault = |e: std::io::Error| StorageError::Config(format!("{}: {e}", path.display()));
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(fault)?;
        }
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(fault)?;
        for attempt in 1..=ATTEMPTS {
            if FileExt::try_lock_exclusive(&file).map_err(fault)? {
                return Ok(Self(file));
            }
            if attempt < ATTEMPTS {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
        Err(StorageError::Locked(database.display().to_string()))
    }
}
