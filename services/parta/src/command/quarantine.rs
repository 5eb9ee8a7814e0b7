//! `parta quarantine`: organizations whose events a consumer could not apply.
use clap::{Args, Subcommand, builder::PossibleValuesParser};
use parta_proto::{FeedChannel as Channel, QuarantineApi, feed::v1::Quarantine, time};
use parta_proto_call_scheduling::CallSchedulingQuarantines;
use parta_proto_chat::ChatQuarantines;
use parta_proto_invitation::InvitationQuarantines;
use parta_proto_membership::MembershipQuarantines;
use parta_proto_org_registry::OrgRegistryQuarantines;
use serde_json::{Value, json};
use tonic::Status;

use super::Common;
use crate::{
    SERVICES,
    client::Session,
    output::{Failure, json as to_json},
};

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Lists the organizations that consumers have quarantined.
    List {
        /// Only those of this service. Without it, every service is asked.
        #[arg(value_parser = names())]
        service: Option<String>,
    },
    /// Shows which event could not be applied, why, and since when.
    Explain(Target),
    /// Ends a quarantine: the consumer tries the events, and then a snapshot.
    Retry(Target),
    /// Skips the event that could not be applied. Its effect is missing until a snapshot can be applied.
    Skip {
        #[command(flatten)]
        target: Target,
        /// The event, `evt_...`, as `parta quarantine explain` names it.
        event: String,
    },
    /// Replaces the data of an organization in a consumer by a snapshot, quarantined or not.
    Rebuild(Target),
}

/// The projection of one organization.
#[derive(Debug, Clone, Args)]
pub struct Target {
    /// The consumer, for example `chat.roster_members`.
    consumer: String,
    /// The organization, `org_...`.
    organization: String,
}

impl Target {
    /// Returns the service that has the consumer: the first part of its name.
    fn service(&self) -> Result<&'static str, Failure> {
        let section = self.consumer.split('.').next().unwrap_or_default();
        let found = SERVICES.iter().find(|service| service.section() == section);
        let found = found.ok_or_else(|| {
            anyhow::anyhow!(
                "no service has the consumer {}: the list names them",
                self.consumer
            )
        })?;
        Ok(found.name)
    }

    fn names(&self) -> (String, String) {
        (self.organization.clone(), self.consumer.clone())
    }
}

fn names() -> PossibleValuesParser {
    PossibleValuesParser::new(SERVICES.map(|service| service.name))
}

/// Calls a function of the generated client of a service, by the name of the service.
macro_rules! of_service {
    ($session:expr, $service:expr, $function:ident($($argument:expr),*)) => {
        match $service {
            "org-registry" => {
                $function::<OrgRegistryQuarantines, _>($session.jobs("org-registry"), $($argument),*).await
            }
            "membership" => {
                $function::<MembershipQuarantines, _>($session.jobs("membership"), $($argument),*).await
            }
            "invitation" => {
                $function::<InvitationQuarantines, _>($session.jobs("invitation"), $($argument),*).await
            }
            "chat" => $function::<ChatQuarantines, _>($session.jobs("chat"), $($argument),*).await,
            _ => {
                $function::<CallSchedulingQuarantines, _>($session.jobs("call-scheduling"), $($argument),*)
                    .await
            }
        }
    };
}
pub(super) use of_service;

/// Lists all pages.
async fn list<A: QuarantineApi, T: Channel>(channel: T) -> Result<Vec<Quarantine>, Status> {
    let (mut found, mut token) = (Vec::new(), String::new());
    loop {
        let (quarantines, next) = A::list(channel.clone(), token).await?;
        found.extend(quarantines);
        if next.is_empty() {
            return Ok(found);
        }
        token = next;
    }
}

async fn explain<A: QuarantineApi, T: Channel>(
    channel: T,
    (org, consumer): (String, String),
) -> Result<Option<Quarantine>, Status> {
    A::explain(channel, org, consumer).await
}

async fn retry<A: QuarantineApi, T: Channel>(
    channel: T,
    act: String,
    (org, consumer): (String, String),
) -> Result<(), Status> {
    A::retry(channel, act, org, consumer).await
}

async fn skip<A: QuarantineApi, T: Channel>(
    channel: T,
    act: String,
    (org, consumer): (String, String),
    event: String,
) -> Result<(), Status> {
    A::skip(channel, act, org, consumer, event).await
}

async fn rebuild<A: QuarantineApi, T: Channel>(
    channel: T,
    act: String,
    (org, consumer): (String, String),
) -> Result<(), Status> {
    A::rebuild(channel, act, org, consumer).await
}

/// Lists the quarantines of one service.
pub(super) async fn of(session: &Session, service: &'static str) -> Result<Vec<Quarantine>, Failure> {
    Ok(of_service!(session, service, list())?)
}

fn line(quarantine: &Quarantine) -> String {
    let since = quarantine.quarantine_time.as_ref().and_then(time);
    let since = since.map_or_else(String::new, |time| time.format("%F %T UTC").to_string());
    format!(
        "{}  {}  since {since}  position {}",
        quarantine.consumer, quarantine.org_id, quarantine.position
    )
}

fn document(quarantine: &Quarantine) -> Result<Value, Failure> {
    Ok(to_json("parta.feed.v1.Quarantine", quarantine)?)
}

impl Command {
    pub(super) async fn run(self, common: &Common) -> Result<(), Failure> {
        let (session, output): (Session, _) = (common.operator()?, common.print());
        match self {
            Self::List { service } => {
                let mut documents = Vec::new();
                let asked = SERVICES.iter().map(|known| known.name);
                for name in asked.filter(|name| service.as_deref().is_none_or(|only| only == *name)) {
                    for quarantine in of(&session, name).await? {
                        output.line(line(&quarantine));
                        documents.push(document(&quarantine)?);
                    }
                }
                if documents.is_empty() {
                    output.line("no organization is quarantined");
                }
                output.document(&json!({"quarantines": documents}));
            }
            Self::Explain(target) => {
                let found = of_service!(session, target.service()?, explain(target.names()))?;
                if let Some(quarantine) = &found {
                    output.line(line(quarantine));
                    let event = if quarantine.event_id.is_empty() {
                        "not known: the source could not read it".to_owned()
                    } else {
                        format!("{}  {}", quarantine.event_id, quarantine.event_kind)
                    };
                    output.line(format!("event     {event}"));
                    output.line(format!("failure   {}", quarantine.event_failure));
                    output.line(format!("snapshot  {}", quarantine.snapshot_failure));
                }
                let shown = found.as_ref().map(document).transpose()?;
                output.document(&json!({"quarantine": shown}));
            }
            Self::Retry(target) => {
                of_service!(session, target.service()?, retry(session.act(), target.names()))?;
                output.line("the quarantine has ended; the consumer tries again now");
                output.document(&json!({"retried": target.organization}));
            }
            Self::Skip { target, event } => {
                let names = target.names();
                of_service!(
                    session,
                    target.service()?,
                    skip(session.act(), names, event.clone())
                )?;
                output.line(format!("the consumer skips {event}"));
                output.document(&json!({"skipped": event}));
            }
            Self::Rebuild(target) => {
                of_service!(session, target.service()?, rebuild(session.act(), target.names()))?;
                output.line("the consumer takes a snapshot now");
                output.document(&json!({"rebuilt": target.organization}));
            }
        }
        Ok(())
    }
}
