//! `parta backup`.
use std::{fs::File, path::PathBuf};

use anyhow::Context as _;
use chrono::{DateTime, Utc};
use parta_ids::Env;
use parta_runtime::{ConfigArgs, Settings};

use super::{
    COPY_ORDER,
    age::Recipient,
    databases::{self, Database},
    files,
    manifest::{DatabaseCopy, Kind, Manifest},
    postgresql, sqlite,
};
use crate::{cli, output::Output};

const SUITE_SECRET: &str = "suite.secret";

/// Options of `parta backup`.
#[derive(Debug, clap::Args)]
pub(crate) struct Backup {
    /// The folder of the backup. It must not exist yet.
    #[arg(value_name = "FOLDER")]
    folder: PathBuf,
    /// Includes suite.secret, the master secret of the installation.
    #[arg(long)]
    include_suite_secret: bool,
    /// Encrypts all files but the manifest to this recipient of age, `age1...`. May be repeated.
    #[arg(long, value_name = "RECIPIENT", value_parser = recipient)]
    encrypt_to: Vec<Recipient>,
}

fn recipient(text: &str) -> Result<Recipient, String> {
    text.parse()
        .map_err(|_| "write a recipient of age, `age1...`, which age-keygen prints".to_owned())
}

fn now() -> DateTime<Utc> {
    Env::system().now()
}

impl Backup {
    pub(crate) async fn run(self, args: ConfigArgs, output: Output) -> anyhow::Result<()> {
        let settings = databases::settings(args)?;
        files::private_folder(&self.folder)?;
        let made = self.make(&settings).await;
        if made.is_err() {
            // Created above, so that nothing of others is in it.
            std::fs::remove_dir_all(&self.folder)
                .with_context(|| format!("cannot remove {}, which is unfinished", self.folder.display()))?;
        }
        let manifest = made?;
        for copy in &manifest.databases {
            output.line(format!(
                "{}: {} bytes in {}",
                copy.service, copy.file.bytes, copy.file.name
            ));
        }
        output.line(format!("The backup is in {}.", self.folder.display()));
        output.line(&manifest.worth);
        output.document(&serde_json::to_value(&manifest)?);
        Ok(())
    }

    async fn make(&self, settings: &Settings) -> anyhow::Result<Manifest> {
        let begin_time = now();
        let mut copies = Vec::new();
        for name in COPY_ORDER {
            let database = Database::of(cli::service(name)?, settings)?;
            copies.push(match database.kind() {
                Kind::Sqlite => self.copy_sqlite(&database)?,
                Kind::Postgresql => self.dump(&database).await?,
            });
        }
        let secret = if self.include_suite_secret {
            let path = databases::keys(settings).join(SUITE_SECRET);
            let file = File::open(&path).with_context(|| {
                format!(
                    "cannot read {}; leave out --include-suite-secret, or set keys.folder",
                    path.display()
                )
            })?;
            Some(files::store(&self.folder, SUITE_SECRET, file, &self.encrypt_to)?)
        } else {
            None
        };
        let manifest = Manifest::new(begin_time, now(), !self.encrypt_to.is_empty(), copies, secret);
        manifest.write(&self.folder)?;
        Ok(manifest)
    }

    fn copy_sqlite(&self, database: &Database) -> anyhow::Result<DatabaseCopy> {
        let (service, copy_time) = (database.service.name, now());
        let copy = self.folder.join(format!("{service}.unfinished"));
        sqlite::copy(&database.file()?, &copy)?;
        let (schema, heads) = sqlite::inspect(&copy, service)?;
        let file = File::open(&copy).with_context(|| format!("cannot read {}", copy.display()))?;
        let file = files::store(&self.folder, &format!("{service}.sqlite"), file, &self.encrypt_to)?;
        std::fs::remove_file(&copy).with_context(|| format!("cannot remove {}", copy.display()))?;
        Ok(DatabaseCopy {
            service: service.to_owned(),
            kind: Kind::Sqlite,
            file,
            copy_time,
            schema,
            heads,
        })
    }

    async fn dump(&self, database: &Database) -> anyhow::Result<DatabaseCopy> {
        let (service, copy_time) = (database.service.name, now());
        let db = database.connect().await?;
        let found = postgresql::inspect(&db).await;
        db.close().await;
        let (schema, heads) = found?;
        let name = format!("{service}.dump");
        let file = postgresql::dump(&database.config.url, service, |dump| {
            files::store(&self.folder, &name, dump, &self.encrypt_to)
        })?;
        Ok(DatabaseCopy {
            service: service.to_owned(),
            kind: Kind::Postgresql,
            file,
            copy_time,
            schema,
            heads,
        })
    }
}
