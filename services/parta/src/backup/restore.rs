//! `parta restore`.
use std::{
    ffi::OsString,
    fs,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, ensure};
use parta_ids::Env;
use parta_runtime::{ConfigArgs, Settings};
use serde_json::json;

use super::{
    age::Identity,
    databases::{self, Database, ServiceLocks},
    files,
    manifest::{DatabaseCopy, Kind, Manifest},
    postgresql,
    recover::{Databases, KeptAccess, Since, recover},
    sqlite,
};
use crate::{cli, output::Output};

const SUITE_SECRET: &str = "suite.secret";

/// Options of `parta restore`.
#[derive(Debug, clap::Args)]
pub(crate) struct Restore {
    /// The folder of the backup.
    #[arg(value_name = "FOLDER")]
    folder: PathBuf,
    /// Restores the database of this service only. May be repeated.
    #[arg(long, value_name = "SERVICE", value_parser = cli::names())]
    only: Vec<String>,
    /// Replaces databases that exist, and suite.secret if the backup has another one. Their content is lost.
    #[arg(long)]
    replace: bool,
    /// File with the secret key of age, for an encrypted backup.
    #[arg(long, value_name = "FILE")]
    identity_file: Option<PathBuf>,
    #[command(flatten)]
    kept: KeptAccess,
}

/// A database whose file was verified.
struct Verified<'a> {
    copy: &'a DatabaseCopy,
    database: Database,
    /// The file of the backup, or for SQLite the decrypted copy beside the target.
    file: PathBuf,
    /// The lock of the SQLite file, until it is replaced.
    lock: Option<fs::File>,
}

impl Restore {
    pub(crate) async fn run(self, args: ConfigArgs, output: Output) -> anyhow::Result<()> {
        let settings = databases::settings(args)?;
        let manifest = Manifest::read(&self.folder)?;
        let identities = self.identities(&manifest)?;
        let mut verified = self.verify(&manifest, &settings)?;
        let locks = ServiceLocks::acquire(&settings).await?;
        for one in &mut verified {
            self.check_target(one).await?;
        }
        let services: Vec<_> = verified.iter().map(|one| one.database.service.name).collect();
        // Those that are not restored are compared afterwards, so they must not run either.
        Databases::open(&settings, &services).await?.close().await;
        let secret = self.verify_secret(&manifest, &settings, &identities)?;
        let staged = stage(&mut verified, &identities);
        if staged.is_err() {
            unstage(&verified);
        }
        staged?;

        if let Some((path, text)) = &secret {
            install_secret(path, text)?;
        }
        for one in &mut verified {
            install(one, &identities).await?;
            output.line(format!(
                "{}: restored the state of {}",
                one.copy.service, one.copy.copy_time
            ));
        }
        for one in &verified {
            parta_runtime::migrate(one.database.service, &settings, Env::system()).await?;
        }
        recover(&settings, &services, Since::Stopped, self.kept, output).await?;
        locks.release().await?;
        if manifest.suite_secret.is_none() {
            output.line(&manifest.worth);
        }
        output.document(&json!({"services": services}));
        Ok(())
    }

    fn identities(&self, manifest: &Manifest) -> anyhow::Result<Vec<Identity>> {
        match (&self.identity_file, manifest.encrypted) {
            (Some(file), true) => files::read_identities(file),
            (None, true) => anyhow::bail!(
                "the backup in {} is encrypted; name the file of its key by --identity-file",
                self.folder.display()
            ),
            (_, false) => Ok(Vec::new()),
        }
    }

    /// Verifies the files and the schemas. Changes nothing.
    fn verify<'a>(&self, manifest: &'a Manifest, settings: &Settings) -> anyhow::Result<Vec<Verified<'a>>> {
        for name in &self.only {
            ensure!(
                manifest.databases.iter().any(|copy| copy.service == *name),
                "the backup in {} has no database of {name}",
                self.folder.display()
            );
        }
        let chosen = |copy: &&DatabaseCopy| self.only.is_empty() || self.only.contains(&copy.service);
        let mut verified = Vec::new();
        for copy in manifest.databases.iter().filter(chosen) {
            let file = copy.file.verify(&self.folder)?;
            let service = cli::service(&copy.service)?;
            let own: Vec<_> = (service.migrations)()
                .iter()
                .map(|migration| migration.name().to_owned())
                .collect();
            let context = || format!("the file {} cannot be restored", file.display());
            copy.schema.check(&own).with_context(context)?;
            let database = Database::of(service, settings)?;
            ensure!(
                database.kind() == copy.kind,
                "the file {} is of another kind of database than {}.database_url; configure a database of the kind \
                 of the backup",
                file.display(),
                service.section()
            );
            verified.push(Verified {
                copy,
                database,
                file,
                lock: None,
            });
        }
        Ok(verified)
    }

    /// Refuses a target that has something, unless it is to be replaced, and one that is in use.
    async fn check_target(&self, one: &mut Verified<'_>) -> anyhow::Result<()> {
        match one.copy.kind {
            Kind::Sqlite => {
                let target = one.database.file()?;
                ensure!(
                    self.replace || !target.exists(),
                    "the file {} exists; add --replace to replace it, or set another data.folder",
                    target.display()
                );
                one.lock = Some(lock(&target)?);
            }
            Kind::Postgresql => {
                let db = one.database.connect().await?;
                let found = postgresql::tables(&db).await;
                db.close().await;
                ensure!(
                    self.replace || found?.is_empty(),
                    "the database of {} has tables; add --replace to replace them, or create an empty database",
                    one.copy.service
                );
            }
        }
        Ok(())
    }

    /// Returns where the master secret of the backup is to be written and its text, if it is not there yet.
    fn verify_secret(
        &self,
        manifest: &Manifest,
        settings: &Settings,
        identities: &[Identity],
    ) -> anyhow::Result<Option<(PathBuf, String)>> {
        let Some(file) = &manifest.suite_secret else {
            return Ok(None);
        };
        let stored = file.verify(&self.folder)?;
        let mut text = String::new();
        files::open(&stored, identities)?
            .read_to_string(&mut text)
            .with_context(|| format!("cannot read {}", stored.display()))?;
        let path = databases::keys(settings).join(SUITE_SECRET);
        if path.exists() {
            let present =
                fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
            if present.trim() == text.trim() {
                return Ok(None);
            }
            ensure!(
                self.replace,
                "the file {} is another master secret than that of the backup; add --replace to replace it",
                path.display()
            );
        }
        Ok(Some((path, text)))
    }
}

/// Locks an SQLite file against the services, whose databases take the same lock. The file is not opened,
/// because it may be damaged.
fn lock(target: &Path) -> anyhow::Result<fs::File> {
    if let Some(folder) = target.parent() {
        fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    }
    let path = beside(target, ".lock");
    let mut options = fs::OpenOptions::new();
    let file = options.create(true).truncate(false).write(true).open(&path);
    let file = file.with_context(|| format!("cannot open {}", path.display()))?;
    file.try_lock().with_context(|| {
        format!(
            "the file {} is in use; if the service runs, stop it",
            target.display()
        )
    })?;
    Ok(file)
}

/// Returns the path of the file beside the target in which its new content is prepared.
fn staging(target: &Path) -> PathBuf {
    beside(target, ".restoring")
}

fn beside(target: &Path, suffix: &str) -> PathBuf {
    let mut name: OsString = target.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// Decrypts everything and checks the SQLite files, before the first database is changed.
fn stage(verified: &mut [Verified<'_>], identities: &[Identity]) -> anyhow::Result<()> {
    for one in verified {
        let mut from = files::open(&one.file, identities)?;
        let unreadable = || format!("cannot read {}", one.file.display());
        match one.copy.kind {
            Kind::Postgresql => {
                io::copy(&mut from, &mut io::sink()).with_context(unreadable)?;
            }
            Kind::Sqlite => {
                let target = one.database.file()?;
                let staged = staging(&target);
                if staged.exists() {
                    // An earlier restore was interrupted.
                    fs::remove_file(&staged)
                        .with_context(|| format!("cannot remove {}", staged.display()))?;
                }
                let mut to = files::private_file(&staged)?;
                io::copy(&mut from, &mut to).with_context(unreadable)?;
                to.sync_all()?;
                one.file = staged;
                sqlite::check(&one.file)?;
            }
        }
    }
    Ok(())
}

/// Removes the prepared files. A file that cannot be removed does no harm: the next restore removes it.
fn unstage(verified: &[Verified<'_>]) {
    for one in verified.iter().filter(|one| one.copy.kind == Kind::Sqlite) {
        if let Ok(target) = one.database.file() {
            let _gone = fs::remove_file(staging(&target));
        }
    }
}

/// Replaces a database by its verified copy.
async fn install(one: &mut Verified<'_>, identities: &[Identity]) -> anyhow::Result<()> {
    match one.copy.kind {
        Kind::Sqlite => {
            let target = one.database.file()?;
            let failed_to_replace = || format!("cannot replace {}", target.display());
            for suffix in ["-wal", "-shm"] {
                // The log of the old file must not be applied to the new one.
                let log = beside(&target, suffix);
                if log.exists() {
                    fs::remove_file(&log).with_context(failed_to_replace)?;
                }
            }
            fs::rename(&one.file, &target).with_context(failed_to_replace)?;
            if let Some(folder) = target.parent() {
                fs::File::open(folder)
                    .and_then(|folder| folder.sync_all())
                    .with_context(failed_to_replace)?;
            }
            // Its migration takes the lock again.
            drop(one.lock.take());
        }
        Kind::Postgresql => {
            let db = one.database.connect().await?;
            let emptied = async {
                let tables = postgresql::tables(&db).await?;
                if !tables.is_empty() {
                    postgresql::drop_tables(&db, &tables).await?;
                }
                Ok::<_, anyhow::Error>(())
            };
            let emptied = emptied.await;
            db.close().await;
            emptied?;
            let mut dump = files::open(&one.file, identities)?;
            postgresql::restore(&one.database.config.url, &one.copy.service, &mut dump)?;
        }
    }
    Ok(())
}

/// Writes the master secret in one step, readable by its owner only.
fn install_secret(path: &Path, text: &str) -> anyhow::Result<()> {
    let failed = || format!("cannot write {}", path.display());
    if let Some(folder) = path.parent()
        && !folder.exists()
    {
        if let Some(above) = folder.parent() {
            fs::create_dir_all(above).with_context(failed)?;
        }
        files::private_folder(folder)?;
    }
    let staged = staging(path);
    if staged.exists() {
        fs::remove_file(&staged).with_context(failed)?;
    }
    let mut file = files::private_file(&staged)?;
    io::Write::write_all(&mut file, text.as_bytes()).with_context(failed)?;
    file.sync_all().with_context(failed)?;
    fs::rename(&staged, path).with_context(failed)
}
