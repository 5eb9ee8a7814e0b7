//! The command line of operators and administrators.
mod application;
mod codes;
mod doctor;
mod jobs;
mod keys;
mod login;
mod quarantine;
pub(crate) mod roster;
mod unlock;

use std::{collections::BTreeMap, path::PathBuf};

use clap::{Args, Subcommand};

use crate::{
    client::{self, Endpoints, Session},
    demo,
    output::{Failure, Format, Output},
};

/// Options of all commands: the addresses of Parta and the output format.
#[derive(Debug, Clone, Args)]
pub struct Common {
    /// Address of Parta, or of the services that `--service` does not name.
    #[arg(
        long,
        global = true,
        env = "PARTA_SERVER",
        default_value = "http://127.0.0.1:7710"
    )]
    pub server: String,
    /// Address of one service of a suite in several processes: `--service chat=http://127.0.0.1:7714`.
    #[arg(long = "service", global = true, value_name = "NAME=URL", value_parser = own_address)]
    pub services: Vec<(String, String)>,
    /// PEM file of the certificate authority of `https` addresses; the system's authorities if not given.
    #[arg(long, global = true, env = "PARTA_TLS_AUTHORITY_FILE")]
    pub tls_authority_file: Option<PathBuf>,
    /// File with the operator's key.
    #[arg(
        long,
        global = true,
        env = "PARTA_OPERATOR_KEY_FILE",
        default_value = "data/keys/operator.key"
    )]
    pub operator_key_file: PathBuf,
    /// Output format.
    #[arg(long, global = true, value_enum, default_value = "text")]
    pub output: Format,
}

fn own_address(text: &str) -> Result<(String, String), String> {
    let (name, address) = text.split_once('=').ok_or("write the address as NAME=URL")?;
    if crate::SERVICES.iter().any(|service| service.name == name) {
        Ok((name.to_owned(), address.to_owned()))
    } else {
        Err(format!("there is no service {name}"))
    }
}

impl Common {
    /// Returns the addresses of the services.
    pub fn endpoints(&self) -> Endpoints {
        Endpoints {
            all: self.server.clone(),
            own: self.services.iter().cloned().collect::<BTreeMap<_, _>>(),
            authority: self.tls_authority_file.clone(),
        }
    }

    fn anonymous(&self) -> Result<Session, Failure> {
        Ok(Session::new(&self.endpoints())?)
    }

    fn operator(&self) -> Result<Session, Failure> {
        Ok(self.anonymous()?.operator(&self.operator_key_file)?)
    }

    /// Returns the standard output in the chosen format.
    pub(crate) fn print(&self) -> Output {
        Output(self.output)
    }
}

/// Commands that call a running suite or prepare one.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Manages applications of organizations: list, show, approve, refuse. Needs the operator's key.
    #[command(subcommand)]
    Application(application::Application),
    /// Lists the one-time codes in the development outbox, newest first. Needs the operator's key.
    Codes(codes::Codes),
    /// Lists the durable jobs of the services; retries or drops those that failed. Needs the operator's key.
    #[command(subcommand)]
    Jobs(jobs::Jobs),
    /// Checks consumers, quarantined organizations and failed jobs. Needs the operator's key.
    Doctor(doctor::Doctor),
    /// Lists, explains and ends quarantines of organizations. Needs the operator's key.
    #[command(subcommand)]
    Quarantine(quarantine::Command),
    /// Lifts the lock that a hundred wrong codes set on a phone or e-mail. Needs the operator's key.
    Unlock(unlock::Unlock),
    /// Signs in by phone or e-mail and stores the session for later commands.
    Login(login::Login),
    /// Ends the stored session.
    Logout(login::Logout),
    /// Imports a roster from another school system. Needs `parta login` as an administrator.
    #[command(subcommand)]
    Roster(roster::Roster),
    /// Manages the keys of an installation in several processes. Needs no running suite.
    #[command(subcommand)]
    Keys(keys::Keys),
    /// Plays a school's first weeks against a running suite and prints each step.
    Demo,
}

impl Command {
    pub async fn run(self, common: &Common) -> Result<(), Failure> {
        match self {
            Self::Application(command) => command.run(common).await,
            Self::Codes(command) => command.run(common).await,
            Self::Jobs(command) => command.run(common).await,
            Self::Doctor(command) => command.run(common).await,
            Self::Quarantine(command) => command.run(common).await,
            Self::Unlock(command) => command.run(common).await,
            Self::Login(command) => command.run(common).await,
            Self::Logout(command) => command.run(common).await,
            Self::Roster(command) => command.run(common).await,
            Self::Keys(command) => command.run(common),
            Self::Demo => {
                let output = common.print();
                let key = client::read_operator_key(&common.operator_key_file)?;
                let played =
                    demo::play(&common.endpoints(), &key, |step| output.line(step.to_string())).await;
                let steps = played.map_err(|error| error.downcast().unwrap_or_else(Failure::Local))?;
                output.document(&serde_json::json!({"steps": steps}));
                Ok(())
            }
        }
    }
}
