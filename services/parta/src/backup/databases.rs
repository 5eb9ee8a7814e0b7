//! The databases that the configuration names.
use std::path::PathBuf;

use anyhow::Context as _;
use parta_access::Secrets;
use parta_database::{DatabaseConfig, DatabaseLock, Db, StorageError};
use parta_ids::Env;
use parta_runtime::{ConfigArgs, Service, Settings, Sources};
use secrecy::{ExposeSecret as _, SecretString};

use super::manifest::Kind;
use crate::SERVICES;

/// The commands run one statement at a time, beside the connections of the services.
const MAX_CONNECTIONS: u32 = 2;

/// Reads the configuration with which the services are started.
pub(super) fn settings(args: ConfigArgs) -> anyhow::Result<Settings> {
    parta_runtime::use_one_tls_provider();
    let (mut settings, _) = Sources::of_process(args).load(&SERVICES)?;
    for service in &SERVICES {
        let section = settings.services.entry(service.section()).or_default();
        if section.database.url.is_none() {
            // The same file as that of `parta serve`.
            let file = settings.data.folder.join(format!("{}.db", service.section()));
            section.database.url = Some(SecretString::from(sqlite_url(&file.display().to_string())));
        }
    }
    Ok(settings)
}

fn sqlite_url(file: &str) -> String {
    let path = file.replace('%', "%25").replace('?', "%3F").replace('#', "%23");
    format!("sqlite://{path}")
}

pub(super) fn keys(settings: &Settings) -> PathBuf {
    let folder = settings.keys.folder.clone();
    folder.unwrap_or_else(|| settings.data.folder.join("keys"))
}

pub(super) struct Database {
    pub(super) service: Service,
    pub(super) config: DatabaseConfig,
}

impl Database {
    /// Returns the database of a service, by the role that owns its schema.
    pub(super) fn of(service: Service, settings: &Settings) -> anyhow::Result<Self> {
        let section = settings.services.get(&service.section());
        let database = section.map(|section| &section.database);
        let url = database.and_then(|database| database.migrate_url.as_ref().or(database.url.as_ref()));
        let url = url.with_context(|| format!("set `{}.database_url`", service.section()))?;
        Ok(Self {
            service,
            config: DatabaseConfig {
                max_connections: MAX_CONNECTIONS,
                ..DatabaseConfig::new(url.expose_secret())
            },
        })
    }

    pub(super) fn kind(&self) -> Kind {
        if self.config.is_postgres() {
            Kind::Postgresql
        } else {
            Kind::Sqlite
        }
    }

    /// Returns the SQLite file.
    pub(super) fn file(&self) -> anyhow::Result<PathBuf> {
        let options = self
            .config
            .url
            .parse::<sea_orm::sqlx::sqlite::SqliteConnectOptions>();
        let options = options.with_context(|| format!("database of {}", self.service.name))?;
        Ok(options.get_filename().to_owned())
    }

    /// Opens the database; an SQLite file is locked against other processes.
    pub(super) async fn connect(&self) -> anyhow::Result<Db> {
        let env = Env::system();
        // The secrets seal cursors, page tokens and the audit chain. The commands neither seal nor open any.
        let unused = Secrets::generate(&env);
        let db = Db::connect(&self.config, self.service.name, unused, env).await;
        db.with_context(|| {
            format!(
                "cannot open the database of {}; if the service runs, stop it",
                self.service.name
            )
        })
    }
}

/// The locks that keep all services away from their PostgreSQL databases while a command changes them. An
/// SQLite file is locked while it is open.
pub(super) struct ServiceLocks(Vec<(Db, DatabaseLock)>);

impl ServiceLocks {
    /// Acquires the locks of all services. Fails if one of them runs.
    pub(super) async fn acquire(settings: &Settings) -> anyhow::Result<Self> {
        let mut locks = Self(Vec::new());
        for service in SERVICES {
            let database = Database::of(service, settings)?;
            if database.kind() == Kind::Sqlite {
                continue;
            }
            let db = database.connect().await?;
            match db.lock_to_replace().await {
                Ok(Some(lock)) => locks.0.push((db, lock)),
                // Only SQLite has no such lock.
                Ok(None) => db.close().await,
                Err(error) => {
                    db.close().await;
                    locks.close().await;
                    return Err(match error {
                        StorageError::Locked(_) => anyhow::anyhow!(
                            "the database of {} is in use; stop the services on all machines, and other commands, \
                             and run this one again",
                            service.name
                        ),
                        other => anyhow::Error::new(other)
                            .context(format!("cannot lock the database of {}", service.name)),
                    });
                }
            }
        }
        Ok(locks)
    }

    /// Releases the locks. Fails if one was lost, because a service may have run meanwhile.
    pub(super) async fn release(mut self) -> anyhow::Result<()> {
        let mut lost = Vec::new();
        for (db, lock) in &mut self.0 {
            if lock.check().await.is_err() {
                lost.push(db.service());
            }
        }
        self.close().await;
        anyhow::ensure!(
            lost.is_empty(),
            "the connection that kept {} away from its database was lost; stop the services and run `parta recover`",
            lost.join(", ")
        );
        Ok(())
    }

    async fn close(self) {
        for (db, lock) in self.0 {
            lock.release().await;
            db.close().await;
        }
    }
}
