//! The command line of the binary.
use std::{ffi::OsString, process::ExitCode};

use clap::{Parser, Subcommand, builder::PossibleValuesParser};
use parta_runtime::{ConfigArgs, Service};

use crate::{
    SERVICES,
    backup::{Backup, ExpireCursors, Recover, Restore},
    command::{Command, Common},
};

#[derive(Parser)]
#[command(
    name = "parta",
    about = "The communication backbone that a school runs itself",
    after_help = "Exit codes: 0 done, 1 refused, 2 wrong usage, 3 the server cannot be reached, 4 the roster files were refused, 5 the doctor has findings.",
    version
)]
struct Cli {
    #[command(flatten)]
    config: ConfigArgs,
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Option<Task>,
}

#[derive(Subcommand)]
enum Task {
    /// Serves until SIGTERM or SIGINT. This is the default command.
    ///
    /// All five services run in this process, and what is missing is created: keys, databases, schemas.
    Serve {
        /// Serves this service only, as part of a cluster. Its keys must exist, and its schema must have been
        /// migrated.
        #[arg(long, value_name = "SERVICE", value_parser = names())]
        only: Option<String>,
    },
    /// Brings the schema of one service's database up to date. Needs only this database.
    ///
    /// Run it before a new version serves. The old version continues to serve meanwhile and afterwards.
    Migrate {
        /// The service whose database is migrated.
        #[arg(value_name = "SERVICE", value_parser = names())]
        service: String,
    },
    /// Copies the databases of all services into a new folder, while they serve.
    ///
    /// Needs the configuration with which the services are started, and for PostgreSQL the program `pg_dump`.
    Backup(Backup),
    /// Restores databases from the folder of a backup. The services must not run.
    ///
    /// Every file is verified before the first database is changed.
    Restore(Restore),
    /// Recovers databases that were restored without `parta restore`, or that lost commits in a failover.
    ///
    /// Sessions end, and what had ended ends again.
    ///
    /// The services must not run. They may have run since.
    Recover(Recover),
    /// Makes all cursors of the events of a service void, so that every consumer takes a snapshot.
    ///
    /// A consumer notices a restored database by itself. This command is for a database that was changed by
    /// hand.
    ExpireCursors(ExpireCursors),
    #[command(flatten)]
    Other(Command),
}

pub(crate) fn names() -> PossibleValuesParser {
    PossibleValuesParser::new(SERVICES.map(|service| service.name))
}

/// Returns the service of this name. The parser of the command line accepts no other name.
pub(crate) fn service(name: &str) -> anyhow::Result<Service> {
    let found = SERVICES.into_iter().find(|service| service.name == name);
    found.ok_or_else(|| anyhow::anyhow!("there is no service {name}"))
}

/// Runs the binary with these arguments, the first of which is the name of the program.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = Cli::parse_from(arguments);
    match cli.command.unwrap_or(Task::Serve { only: None }) {
        Task::Serve { only: None } => parta_runtime::run(parta_runtime::serve_composed_with(
            &SERVICES,
            cli.config,
            crate::greet,
        )),
        Task::Serve { only: Some(name) } => {
            parta_runtime::run(
                async move { parta_runtime::serve_standalone(service(&name)?, cli.config).await },
            )
        }
        Task::Migrate { service: name } => {
            parta_runtime::run(
                async move { parta_runtime::migrate_standalone(service(&name)?, cli.config).await },
            )
        }
        Task::Backup(command) => parta_runtime::run(command.run(cli.config, cli.common.print())),
        Task::Restore(command) => parta_runtime::run(command.run(cli.config, cli.common.print())),
        Task::Recover(command) => parta_runtime::run(command.run(cli.config, cli.common.print())),
        Task::ExpireCursors(command) => parta_runtime::run(command.run(cli.config, cli.common.print())),
        Task::Other(command) => crate::run(command, &cli.common),
    }
}
