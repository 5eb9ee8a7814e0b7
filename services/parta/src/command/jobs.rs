//! `parta jobs`: the durable jobs of the services.
use clap::{Subcommand, ValueEnum, builder::PossibleValuesParser};
use parta_proto::{
    jobs::v1::{DropJobRequest, Job, JobState, ListJobsRequest, RetryJobRequest},
    time,
};
use prost_types::Timestamp;
use serde_json::{Value, json};

use super::Common;
use crate::{
    SERVICES,
    client::Session,
    output::{Failure, json as to_json},
};

/// The number of jobs that one call lists.
const PAGE: i32 = 200;

#[derive(Debug, Subcommand)]
pub enum Jobs {
    /// Lists jobs that wait, run or have failed, oldest first.
    List {
        /// Only jobs of this service. Without it, every service is queried.
        #[arg(value_parser = names())]
        service: Option<String>,
        /// Only jobs in this state.
        #[arg(long, value_enum)]
        state: Option<State>,
        /// Only jobs of this kind.
        #[arg(long, default_value = "")]
        kind: String,
        /// Only jobs of this organization, `org_...`.
        #[arg(long, default_value = "")]
        organization: String,
    },
    /// Makes a failed job due at once, with as many attempts as a new one.
    Retry {
        /// The service that has the job.
        #[arg(value_parser = names())]
        service: String,
        /// Job id, `job_...`.
        id: String,
    },
    /// Deletes a failed job. Its effect never happens.
    Drop {
        /// The service that has the job.
        #[arg(value_parser = names())]
        service: String,
        /// Job id, `job_...`.
        id: String,
    },
}

/// The state of a job.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum State {
    /// An attempt is due now or later.
    Waiting,
    /// An attempt runs.
    Running,
    /// The job is not tried again.
    Failed,
}

fn names() -> PossibleValuesParser {
    PossibleValuesParser::new(SERVICES.map(|service| service.name))
}

/// Lists all jobs of one service that a request selects.
async fn list(session: &Session, service: &str, mut request: ListJobsRequest) -> Result<Vec<Job>, Failure> {
    let client = session.operator_of(service)?;
    request.page_size = PAGE;
    let mut found = Vec::new();
    loop {
        let page = client.list_jobs(request.clone()).await?;
        found.extend(page.jobs);
        if page.next_page_token.is_empty() {
            return Ok(found);
        }
        request.page_token = page.next_page_token;
    }
}

/// Lists the jobs of one service in a state.
pub(super) async fn of(session: &Session, service: &str, state: JobState) -> Result<Vec<Job>, Failure> {
    let request = ListJobsRequest {
        state: state.into(),
        ..ListJobsRequest::default()
    };
    list(session, service, request).await
}

fn line(service: &str, job: &Job) -> String {
    let at = |of: &Option<Timestamp>| {
        let time = of.as_ref().and_then(time);
        time.map_or_else(String::new, |time| time.format("%F %T UTC").to_string())
    };
    let state = job.state().as_str_name().trim_start_matches("JOB_STATE_");
    let mut text = format!("{service}  {}  {state:<7}  {}", job.id, job.kind);
    let mut add = |name: &str, value: String| {
        if !value.is_empty() {
            text += &format!("  {name} {value}");
        }
    };
    add("organization", job.org_id.clone());
    add("attempts", job.attempts.to_string());
    add("created", at(&job.create_time));
    add("due", at(&job.due_time));
    add("failed", at(&job.fail_time));
    if job.total_steps > 0 {
        add("steps", format!("{}/{}", job.done_steps, job.total_steps));
    }
    add("failure", job.failure.clone());
    text
}

fn document(service: &str, job: &Job) -> Result<Value, Failure> {
    let mut value = to_json("parta.jobs.v1.Job", job)?;
    value["service"] = json!(service);
    Ok(value)
}

impl Jobs {
    pub(super) async fn run(self, common: &Common) -> Result<(), Failure> {
        let (session, output): (Session, _) = (common.operator()?, common.print());
        match self {
            Self::List {
                service,
                state,
                kind,
                organization,
            } => {
                let state = state.map_or(JobState::Unspecified, |state| match state {
                    State::Waiting => JobState::Waiting,
                    State::Running => JobState::Running,
                    State::Failed => JobState::Failed,
                });
                let request = ListJobsRequest {
                    state: state.into(),
                    kind,
                    org_id: organization,
                    ..ListJobsRequest::default()
                };
                let names = SERVICES.iter().map(|known| known.name);
                let mut documents = Vec::new();
                for name in names.filter(|name| service.as_deref().is_none_or(|only| only == *name)) {
                    for job in list(&session, name, request.clone()).await? {
                        output.line(line(name, &job));
                        documents.push(document(name, &job)?);
                    }
                }
                if documents.is_empty() {
                    output.line("no such jobs");
                }
                output.document(&json!({"jobs": documents}));
            }
            Self::Retry { service, id } => {
                let request = RetryJobRequest {
                    request_id: session.act(),
                    job_id: id,
                };
                let job = session.operator_of(&service)?.retry_job(request).await?.job;
                match &job {
                    Some(job) => output.line(format!("due again: {}", line(&service, job))),
                    None => output.line("the job is done"),
                }
                let shown = job.as_ref().map(|job| document(&service, job)).transpose()?;
                output.document(&json!({"job": shown}));
            }
            Self::Drop { service, id } => {
                let request = DropJobRequest {
                    request_id: session.act(),
                    job_id: id.clone(),
                };
                session.operator_of(&service)?.drop_job(request).await?;
                output.line(format!("deleted: {id}"));
                output.document(&json!({"dropped": id}));
            }
        }
        Ok(())
    }
}
