//! The manifest of a backup: what its files are, and how they are verified.
use std::{io::Write as _, path::Path};

use anyhow::{Context as _, ensure};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::files::{self, StoredFile};

/// The name of its file.
const NAME: &str = "manifest.json";
/// The version of its form that this build reads and writes.
const FORMAT: u32 = 1;

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Manifest {
    format: u32,
    /// The version of Parta that made the backup.
    pub(super) parta_version: String,
    /// Before the first database was copied.
    pub(super) begin_time: DateTime<Utc>,
    /// After the last database was copied.
    pub(super) end_time: DateTime<Utc>,
    /// Whether the files are encrypted with age. The manifest is not.
    pub(super) encrypted: bool,
    /// The value of the backup, for people.
    pub(super) worth: String,
    /// The databases in the order of their copies.
    pub(super) databases: Vec<DatabaseCopy>,
    /// The master secret, if it was requested.
    pub(super) suite_secret: Option<StoredFile>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DatabaseCopy {
    pub(super) service: String,
    pub(super) kind: Kind,
    pub(super) file: StoredFile,
    /// When the copy began.
    pub(super) copy_time: DateTime<Utc>,
    pub(super) schema: Schema,
    /// The number of organizations that have an event log.
    pub(super) heads: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Kind {
    Sqlite,
    Postgresql,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Schema {
    /// The latest migration of the service itself, for people.
    pub(super) version: String,
    /// All applied migrations.
    pub(super) migrations: Vec<String>,
    /// Migrations that a build must know.
    pub(super) required: Vec<String>,
}

impl Schema {
    pub(super) fn new(service: &str, migrations: Vec<String>, required: Vec<String>) -> Self {
        let prefix = format!("{}_", service.replace('-', "_"));
        let own = migrations.iter().filter(|name| name.starts_with(&prefix));
        Self {
            version: own.max().cloned().unwrap_or_default(),
            migrations,
            required,
        }
    }

    /// Refuses a schema that this build cannot serve, also after its migrations. The rule is that of
    /// `Db::migrate`.
    pub(super) fn check(&self, own: &[String]) -> anyhow::Result<()> {
        if let Some(name) = self.required.iter().find(|name| !own.contains(name)) {
            anyhow::bail!(
                "its schema requires a version of Parta that knows {name}; restore with that version or a later one"
            );
        }
        let pending = own.iter().find(|name| !self.migrations.contains(name));
        let newer = self.migrations.iter().find(|name| !own.contains(name));
        if let (Some(pending), Some(newer)) = (pending, newer) {
            anyhow::bail!(
                "its schema lacks {pending} and has {newer} of another version of Parta; restore with that version"
            );
        }
        Ok(())
    }
}

impl Manifest {
    pub(super) fn new(
        begin_time: DateTime<Utc>,
        end_time: DateTime<Utc>,
        encrypted: bool,
        databases: Vec<DatabaseCopy>,
        suite_secret: Option<StoredFile>,
    ) -> Self {
        let worth = if suite_secret.is_some() {
            super::WITH_SECRET
        } else {
            super::WITHOUT_SECRET
        };
        Self {
            format: FORMAT,
            parta_version: env!("CARGO_PKG_VERSION").to_owned(),
            begin_time,
            end_time,
            encrypted,
            worth: worth.to_owned(),
            databases,
            suite_secret,
        }
    }

    pub(super) fn write(&self, folder: &Path) -> anyhow::Result<()> {
        let path = folder.join(NAME);
        let mut file = files::private_file(&path)?;
        let text = serde_json::to_vec_pretty(self)?;
        file.write_all(&text)
            .and_then(|()| file.sync_all())
            .and_then(|()| std::fs::File::open(folder)?.sync_all())
            .with_context(|| format!("cannot write {}", path.display()))
    }

    pub(super) fn read(folder: &Path) -> anyhow::Result<Self> {
        let path = folder.join(NAME);
        let text = std::fs::read(&path).with_context(|| {
            format!(
                "cannot read {}; name the folder of a finished backup",
                path.display()
            )
        })?;
        let damaged = || {
            format!(
                "{} is no manifest that this version of Parta reads; use another backup, or the version that made it",
                path.display()
            )
        };
        let manifest: Self = serde_json::from_slice(&text).with_context(damaged)?;
        ensure!(manifest.format == FORMAT, damaged());
        for file in manifest.files() {
            // A name with a folder could read a file outside the backup.
            let plain = Path::new(&file.name)
                .file_name()
                .is_some_and(|name| name == file.name.as_str());
            ensure!(plain, damaged());
        }
        Ok(manifest)
    }

    /// Returns all files of the backup.
    pub(super) fn files(&self) -> impl Iterator<Item = &StoredFile> {
        let databases = self.databases.iter().map(|copy| &copy.file);
        databases.chain(&self.suite_secret)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema(migrations: &[&str], required: &[&str]) -> Schema {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Schema::new("chat", owned(migrations), owned(required))
    }

    #[test]
    fn schema_outside_the_range_is_refused() {
        let own = ["feed_1", "chat_1", "chat_2"].map(str::to_owned);
        assert_eq!(schema(&["chat_1", "feed_1"], &[]).version, "chat_1");
        // An older schema is migrated, and a newer one serves unless it requires a newer build.
        schema(&["feed_1", "chat_1"], &[]).check(&own).unwrap();
        schema(&["feed_1", "chat_1", "chat_2", "chat_3"], &[])
            .check(&own)
            .unwrap();
        for (refused, named) in [
            (
                schema(&["feed_1", "chat_1", "chat_2", "chat_3"], &["chat_3"]),
                "chat_3",
            ),
            (schema(&["feed_1", "chat_1", "chat_3"], &[]), "chat_2"),
        ] {
            let error = refused.check(&own).unwrap_err().to_string();
            assert!(error.contains(named), "{error}");
        }
    }

    #[test]
    fn name_outside_the_folder_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = StoredFile {
            name: "../chat.db".to_owned(),
            bytes: 0,
            sha256: String::new(),
        };
        let now = DateTime::UNIX_EPOCH;
        let manifest = Manifest::new(now, now, false, Vec::new(), Some(file));
        manifest.write(folder.path()).unwrap();
        assert!(Manifest::read(folder.path()).is_err());
    }
}
