//! The data folder of a process with all services: nobody else reads it, and what was created in it must
//! still be there.
//!
//! A database or a master secret that is missing is lost, and the process would go on with an empty one: the
//! school would find nobody in it. The folder notes what was created, so that such a start is refused.
use std::{
    collections::BTreeSet,
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use anyhow::Context as _;

/// The file with the sections of the services whose databases were created in the folder, one in each line.
const CREATED: &str = "created-databases.txt";

/// Creates the folder if it is missing, and takes the rights of everybody but its owner.
pub(crate) fn open(folder: &Path) -> anyhow::Result<()> {
    let opened = || -> io::Result<()> {
        fs::create_dir_all(folder)?;
        make_private(folder, 0o700)
    };
    opened().with_context(|| format!("data folder {}", folder.display()))
}

/// Refuses to go on without a database that was created in the folder before, or without the master secret
/// that was used with it. `sections` are those of the services whose databases are in the folder.
pub(crate) fn check(folder: &Path, sections: &[String], secret: &Path) -> anyhow::Result<()> {
    let created = created(folder)?;
    for section in sections.iter().filter(|section| created.contains(*section)) {
        let file = database(folder, section);
        anyhow::ensure!(
            file.exists(),
            "the database {} is missing and was there before: copy it back or restore a backup; to go on without \
             its content, remove `{section}` from {}",
            file.display(),
            folder.join(CREATED).display()
        );
    }
    anyhow::ensure!(
        created.is_empty() || secret.exists(),
        "{} is missing, and the databases of {} were used with it: copy it back; `parta keys make` makes another \
         one, by which the keys of service accounts and the open codes and links end",
        secret.display(),
        folder.display()
    );
    Ok(())
}

/// Returns the file of a database, which only its owner can read. Creates an empty one if it is missing.
pub(crate) fn private_database(folder: &Path, section: &str) -> anyhow::Result<PathBuf> {
    let file = database(folder, section);
    let made = || -> io::Result<()> {
        let mut options = fs::OpenOptions::new();
        options.append(true).create(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        drop(options.open(&file)?);
        make_private(&file, 0o600)
    };
    made().with_context(|| format!("database {}", file.display()))?;
    Ok(file)
}

/// Notes that the database of a service was created in the folder.
pub(crate) fn note_created(folder: &Path, section: &str) -> anyhow::Result<()> {
    let mut all = created(folder)?;
    if !all.insert(section.to_owned()) {
        return Ok(());
    }
    let (file, unfinished) = (folder.join(CREATED), folder.join(format!("{CREATED}.unfinished")));
    let write = || -> io::Result<()> {
        let mut to = fs::File::create(&unfinished)?;
        for section in &all {
            writeln!(to, "{section}")?;
        }
        to.sync_all()?;
        fs::rename(&unfinished, &file)?;
        fs::File::open(folder)?.sync_all()
    };
    write().with_context(|| format!("file {}", file.display()))
}

fn database(folder: &Path, section: &str) -> PathBuf {
    folder.join(format!("{section}.db"))
}

fn created(folder: &Path) -> anyhow::Result<BTreeSet<String>> {
    let file = folder.join(CREATED);
    match fs::read_to_string(&file) {
        Ok(text) => Ok(text.lines().map(str::to_owned).collect()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(BTreeSet::new()),
        Err(error) => Err(error).with_context(|| format!("file {}", file.display())),
    }
}

/// Takes the rights of everybody but the owner. A file of another owner stays as it is: a volume of
/// Kubernetes belongs to root, and its group is that of the process.
#[cfg(unix)]
fn make_private(path: &Path, mode: u32) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;

    let rights = fs::metadata(path)?.permissions().mode();
    if rights & 0o077 == 0 {
        return Ok(());
    }
    match fs::set_permissions(path, fs::Permissions::from_mode(mode)) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            if rights & 0o007 != 0 {
                tracing::warn!(path = %path.display(), "other users of this machine can read the data");
            }
            Ok(())
        }
        changed => changed,
    }
}

#[cfg(not(unix))]
fn make_private(_: &Path, _: u32) -> io::Result<()> {
    Ok(())
}
