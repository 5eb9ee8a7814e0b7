//! `parta doctor`: what is wrong in a running suite, and what to do about it.
use std::{collections::BTreeMap, time::Duration};

use clap::Args;
use parta_feed::{EVENTS_LOST, MAX_AGE};
use parta_proto::{
    elapsed,
    feed::v1::{ConsumerStatus, GetConsumerStatusRequest, Quarantine},
    jobs::v1::JobState,
};
use serde_json::json;

use super::{Common, jobs, quarantine};
use crate::{
    SERVICES,
    client::Session,
    output::{Failure, Output},
};

const QUARANTINE_PAGE: &str = "docs/operations/quarantine.md";
const FAILOVER_PAGE: &str = "docs/operations/failover.md";
const JOBS_PAGE: &str = "docs/operations/jobs.md";

/// Checks how far the consumers of each service are, overdue endings, quarantined organizations and failed
/// jobs. Exit code 5 if something is wrong.
#[derive(Debug, Args)]
pub struct Doctor {}

/// Something that is wrong.
struct Finding {
    service: String,
    check: &'static str,
    text: String,
    advice: String,
    page: &'static str,
}

/// Judges the status of a consumer.
fn judge(service: &str, consumer: &ConsumerStatus, findings: &mut Vec<Finding>) {
    let mut add = |check, text: String, advice: &str| {
        findings.push(Finding {
            service: service.to_owned(),
            check,
            text: format!("{}: {text}", consumer.consumer),
            advice: advice.to_owned(),
            page: QUARANTINE_PAGE,
        });
    };
    let heartbeat = consumer.heartbeat_age.as_ref().and_then(elapsed);
    if heartbeat.is_none_or(|age| age > MAX_AGE) {
        let since = heartbeat.map_or_else(
            || "since it started".to_owned(),
            |age| format!("for {} s", age.as_secs()),
        );
        let text = format!("{} has not responded {since}", consumer.source);
        add(
            "heartbeat",
            text,
            "See whether the source runs and is reachable, and read its log.",
        );
    }
    if consumer.breaker_open {
        let text = "many organizations fail alike, and none is quarantined any more".to_owned();
        add(
            "breaker",
            text,
            "Read the log of the service; roll back a build that began it.",
        );
    }
    for lag in consumer.lags.iter().filter(|lag| !lag.quarantined) {
        let age = lag.age.as_ref().and_then(elapsed);
        if age.is_none_or(|age| age > MAX_AGE) {
            let age = age.map_or_else(
                || "never complete since the start".to_owned(),
                |age| format!("{} s old", age.as_secs()),
            );
            let text = format!("{} is {} events behind, {age}", lag.org_id, lag.events);
            add(
                "lag",
                text,
                "Read the log of the service for the cause, which it retries.",
            );
        }
    }
}

/// Notes the endings that the source of a consumer has not published in time, each organization once,
/// although each consumer of the source names it.
fn judge_endings(consumer: &ConsumerStatus, overdue: &mut BTreeMap<(String, String), Duration>) {
    for ending in &consumer.overdue_endings {
        let lateness = ending.lateness.as_ref().and_then(elapsed);
        if let Some(lateness) = lateness.filter(|lateness| *lateness > MAX_AGE) {
            let key = (consumer.source.clone(), ending.org_id.clone());
            let known = overdue.entry(key).or_default();
            *known = lateness.max(*known);
        }
    }
}

/// Returns the finding about an ending that a service has not published in time.
fn overdue(service: String, org_id: &str, lateness: Duration) -> Finding {
    Finding {
        check: "ending",
        text: format!(
            "the end of a right of {org_id} is overdue by {} s, and its calls are refused",
            lateness.as_secs()
        ),
        advice: format!("parta jobs list {service} --kind {service}.end_due"),
        page: QUARANTINE_PAGE,
        service,
    }
}

/// Returns the finding about a quarantined organization.
fn quarantined(service: &str, found: &Quarantine) -> Finding {
    if found.event_failure == EVENTS_LOST {
        return Finding {
            service: service.to_owned(),
            check: "lost_events",
            text: format!(
                "{}: {EVENTS_LOST}, and the calls of {} are refused",
                found.consumer, found.org_id
            ),
            advice: "Stop all services and run: parta recover".to_owned(),
            page: FAILOVER_PAGE,
        };
    }
    Finding {
        service: service.to_owned(),
        check: "quarantine",
        text: format!("{}: {} is quarantined", found.consumer, found.org_id),
        advice: format!("parta quarantine explain {} {}", found.consumer, found.org_id),
        page: QUARANTINE_PAGE,
    }
}

/// The responses of the services.
#[derive(Default)]
struct Report {
    findings: Vec<Finding>,
    consumers: Vec<serde_json::Value>,
    overdue_endings: BTreeMap<(String, String), Duration>,
}

impl Report {
    async fn inspect(&mut self, session: &Session, service: &str, output: Output) -> Result<(), Failure> {
        let client = session.operator_of(service)?;
        let status = client.consumer_status(GetConsumerStatusRequest {}).await?;
        for consumer in status.consumers {
            output.line(format!(
                "{}  of {}  organizations behind {}",
                consumer.consumer, consumer.source, consumer.organizations_behind
            ));
            judge(service, &consumer, &mut self.findings);
            judge_endings(&consumer, &mut self.overdue_endings);
            self.consumers
                .push(crate::output::json("parta.feed.v1.ConsumerStatus", &consumer)?);
        }
        for found in quarantine::of(session, service).await? {
            self.findings.push(quarantined(service, &found));
        }
        for job in jobs::of(session, service, JobState::Failed).await? {
            self.findings.push(Finding {
                service: service.to_owned(),
                check: "job",
                text: format!("{} of kind {} failed: {}", job.id, job.kind, job.failure),
                advice: format!("parta jobs retry {service} {}", job.id),
                page: JOBS_PAGE,
            });
        }
        Ok(())
    }
}

/// Returns the finding about a service that does not respond.
fn unreachable(service: &str) -> Finding {
    Finding {
        service: service.to_owned(),
        check: "unreachable",
        text: "the service cannot be reached".to_owned(),
        advice: "See whether it runs, and read its log.".to_owned(),
        page: QUARANTINE_PAGE,
    }
}

impl Doctor {
    pub(super) async fn run(self, common: &Common) -> Result<(), Failure> {
        let (session, output): (Session, _) = (common.operator()?, common.print());
        let mut report = Report::default();
        let mut silent = 0;
        for service in SERVICES.iter().map(|known| known.name) {
            match report.inspect(&session, service, output).await {
                // The others may say why.
                Err(failure @ Failure::Unreachable(_)) => {
                    silent += 1;
                    if silent == SERVICES.len() {
                        return Err(failure);
                    }
                    report.findings.push(unreachable(service));
                }
                inspected => inspected?,
            }
        }
        let Report {
            mut findings,
            consumers,
            overdue_endings,
        } = report;
        for ((service, org_id), lateness) in overdue_endings {
            findings.push(overdue(service, &org_id, lateness));
        }
        for finding in &findings {
            output.line(format!("WRONG  {}  {}", finding.service, finding.text));
            output.line(format!("       {}  ({})", finding.advice, finding.page));
        }
        let documents = findings.iter().map(|finding| {
            json!({
                "service": finding.service,
                "check": finding.check,
                "text": finding.text,
                "advice": finding.advice,
                "page": finding.page,
            })
        });
        let documents: Vec<_> = documents.collect();
        output.document(&json!({"consumers": consumers, "findings": documents}));
        if findings.is_empty() {
            output.line("nothing is wrong");
            return Ok(());
        }
        Err(Failure::Unhealthy(findings.len()))
    }
}
