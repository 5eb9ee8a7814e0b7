//! `parta expire-cursors`.
use anyhow::Context as _;
use parta_runtime::ConfigArgs;
use serde_json::json;

use super::databases::{self, Database};
use crate::{SERVICES, cli, output::Output};

/// Options of `parta expire-cursors`.
#[derive(Debug, clap::Args)]
pub(crate) struct ExpireCursors {
    /// The service whose events are read again; all services if not given.
    #[arg(long, value_name = "SERVICE", value_parser = cli::names())]
    only: Option<String>,
}

impl ExpireCursors {
    pub(crate) async fn run(self, args: ConfigArgs, output: Output) -> anyhow::Result<()> {
        let settings = databases::settings(args)?;
        let mut expired = Vec::new();
        for service in SERVICES {
            if self.only.as_ref().is_some_and(|only| only != service.name) {
                continue;
            }
            let database = Database::of(service, &settings)?;
            let db = database.connect().await?;
            let done = db.expire_cursors().await;
            db.close().await;
            done.with_context(|| format!("database of {}", service.name))?;
            output.line(format!("{}: the cursors have expired", service.name));
            expired.push(service.name);
        }
        output.document(&json!({"services": expired}));
        Ok(())
    }
}
