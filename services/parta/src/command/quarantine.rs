//! `parta quarantine`: organizations whose events a consumer could not apply.
use clap::{Args, Subcommand, builder::PossibleValuesParser};
use parta_proto::{
    feed::v1::{
        ExplainQuarantineRequest, ListQuarantinesRequest, Quarantine, RebuildProjectionRequest,
        RetryQuarantineRequest, SkipQuarantinedEventRequest,
    },
    time,
};
use serde_json::{Value, json};

use super::Common;
use crate::{
    SERVICES,
    client::{OperatorClient, Session},
    output::{Failure, json as to_json},
};

/// The number of quarantines that one call lists.
const PAGE: i32 = 200;

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Lists the organizations that consumers have quarantined.
    List {
        /// Only those of this service. Without it, every service is queried.
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

    /// Returns a client of the service that has the consumer.
    fn client(&self, session: &Session) -> Result<OperatorClient, Failure> {
        session.operator_of(self.service()?)
    }
}

fn names() -> PossibleValuesParser {
    PossibleValuesParser::new(SERVICES.map(|service| service.name))
}

/// Lists the quarantines of one service.
pub(super) async fn of(session: &Session, service: &str) -> Result<Vec<Quarantine>, Failure> {
    let client = session.operator_of(service)?;
    let mut request = ListQuarantinesRequest {
        page_size: PAGE,
        page_token: String::new(),
    };
    let mut found = Vec::new();
    loop {
        let page = client.list_quarantines(request.clone()).await?;
        found.extend(page.quarantines);
        if page.next_page_token.is_empty() {
            return Ok(found);
        }
        request.page_token = page.next_page_token;
    }
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
                let names = SERVICES.iter().map(|known| known.name);
                for name in names.filter(|name| service.as_deref().is_none_or(|only| only == *name)) {
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
                let request = ExplainQuarantineRequest {
                    org_id: target.organization.clone(),
                    consumer: target.consumer.clone(),
                };
                let response = target.client(&session)?.explain_quarantine(request).await?;
                let found = response.quarantine;
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
                let request = RetryQuarantineRequest {
                    request_id: session.act(),
                    org_id: target.organization.clone(),
                    consumer: target.consumer.clone(),
                };
                target.client(&session)?.retry_quarantine(request).await?;
                output.line("the quarantine has ended; the consumer tries again now");
                output.document(&json!({"retried": target.organization}));
            }
            Self::Skip { target, event } => {
                let request = SkipQuarantinedEventRequest {
                    request_id: session.act(),
                    org_id: target.organization.clone(),
                    consumer: target.consumer.clone(),
                    event_id: event.clone(),
                };
                target.client(&session)?.skip_quarantined_event(request).await?;
                output.line(format!("the consumer skips {event}"));
                output.document(&json!({"skipped": event}));
            }
            Self::Rebuild(target) => {
                let request = RebuildProjectionRequest {
                    request_id: session.act(),
                    org_id: target.organization.clone(),
                    consumer: target.consumer.clone(),
                };
                target.client(&session)?.rebuild_projection(request).await?;
                output.line("the consumer takes a snapshot now");
                output.document(&json!({"rebuilt": target.organization}));
            }
        }
        Ok(())
    }
}
