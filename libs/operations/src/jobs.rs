//! The durable jobs of one service: list, retry, drop.

use parta_access::{Caller, require_operator};
use parta_database::{Db, Tx};
use parta_edge::{Edge, Mutation, Page, PageRequest, Query, Read, Run};
use parta_ids::{JobId, OrgId, optional_text};
use parta_jobs::{JobFilter, JobRecord, JobState};
use parta_proto::{ServeJobs, jobs::v1 as pb, status::v1::ErrorReason, timestamp};
use parta_status::{FieldViolations, RpcError, field, not_found};
use tonic::{Request, Response, Status};

use crate::edge;

/// Serves the jobs in the database of one service through its generated service. Cheap to clone.
#[derive(Clone)]
pub struct JobServer {
    edge: Edge<()>,
}

impl JobServer {
    /// Returns a server. Jobs depend on no other service, so that it waits for none.
    pub fn new(db: Db) -> Self {
        Self { edge: edge(db) }
    }
}

struct ListJobs {
    filter: JobFilter,
    page: PageRequest,
}

impl Query for ListJobs {
    type Context = ();
    type View = Page<JobRecord>;
    type Error = RpcError;

    async fn run(&self, run: Run<'_, ()>) -> Result<Read<Page<JobRecord>>, RpcError> {
        let Run { tx, caller, .. } = run;
        require_operator(caller)?;
        let after = self.page.after(tx, caller)?;
        let rows = parta_jobs::list(tx, &self.filter, after, self.page.limit()).await?;
        Ok(Read::plain(self.page.page(tx, caller, rows, |row| row.job_id)))
    }
}

/// Returns the locked job, which has failed.
async fn lock_failed(tx: &Tx, id: JobId) -> Result<JobRecord, RpcError> {
    let job = parta_jobs::lock(tx, id)
        .await?
        .ok_or_else(|| not_found("job", id))?;
    if job.state != JobState::Failed {
        return Err(RpcError::new(
            ErrorReason::JobNotFailed,
            "The job has not failed: it waits or runs.",
        ));
    }
    Ok(job)
}

async fn audit(tx: &Tx, caller: &Caller, org_id: Option<OrgId>, id: JobId) -> Result<(), RpcError> {
    let object = org_id.map_or_else(
        || format!("jobs/{id}"),
        |org| format!("organizations/{org}/jobs/{id}"),
    );
    Ok(parta_audit::record(tx, caller, org_id, object).await?)
}

struct RetryJob(JobId);

impl Mutation for RetryJob {
    type Context = ();
    type Grant = ();
    type Outcome = ();
    /// `None` if the job is done.
    type View = Option<JobRecord>;
    type Error = RpcError;

    async fn authorize(&self, run: Run<'_, ()>) -> Result<(), RpcError> {
        require_operator(run.caller).map(drop)
    }

    async fn act(&self, run: Run<'_, ()>, (): &()) -> Result<(), RpcError> {
        let Run { tx, caller, .. } = run;
        let job = lock_failed(tx, self.0).await?;
        parta_jobs::retry(tx, self.0).await?;
        audit(tx, caller, job.org_id, self.0).await
    }

    async fn view(&self, run: Run<'_, ()>, (): &(), (): &()) -> Result<Option<JobRecord>, RpcError> {
        Ok(parta_jobs::find(run.tx, self.0).await?)
    }
}

struct DropJob(JobId);

impl Mutation for DropJob {
    type Context = ();
    type Grant = ();
    type Outcome = ();
    type View = ();
    type Error = RpcError;

    async fn authorize(&self, run: Run<'_, ()>) -> Result<(), RpcError> {
        require_operator(run.caller).map(drop)
    }

    async fn act(&self, run: Run<'_, ()>, (): &()) -> Result<(), RpcError> {
        let Run { tx, caller, .. } = run;
        let job = lock_failed(tx, self.0).await?;
        parta_jobs::delete(tx, self.0).await?;
        audit(tx, caller, job.org_id, self.0).await
    }

    async fn view(&self, _: Run<'_, ()>, (): &(), (): &()) -> Result<(), RpcError> {
        Ok(())
    }
}

fn state_to_proto(state: JobState) -> pb::JobState {
    match state {
        JobState::Waiting => pb::JobState::Waiting,
        JobState::Running => pb::JobState::Running,
        JobState::Failed => pb::JobState::Failed,
    }
}

/// Returns the state to which a list is limited, if any.
fn decode_state(violations: &mut FieldViolations, number: i32) -> Option<JobState> {
    match pb::JobState::try_from(number) {
        Ok(pb::JobState::Unspecified) => None,
        Ok(pb::JobState::Waiting) => Some(JobState::Waiting),
        Ok(pb::JobState::Running) => Some(JobState::Running),
        Ok(pb::JobState::Failed) => Some(JobState::Failed),
        Err(_) => {
            violations.add("state", "must be one of the states");
            None
        }
    }
}

fn to_proto(job: JobRecord) -> pb::Job {
    let (done_steps, total_steps) = job.progress.unwrap_or_default();
    pb::Job {
        id: job.job_id.to_string(),
        kind: job.kind,
        org_id: optional_text(job.org_id),
        state: state_to_proto(job.state).into(),
        attempts: job.attempts,
        failure: job.failure.unwrap_or_default(),
        create_time: Some(timestamp(job.create_time)),
        due_time: job.due_time.map(timestamp),
        fail_time: job.fail_time.map(timestamp),
        done_steps,
        total_steps,
    }
}

#[tonic::async_trait]
impl ServeJobs for JobServer {
    async fn list_jobs(
        &self,
        request: Request<pb::ListJobsRequest>,
    ) -> Result<Response<pb::ListJobsResponse>, Status> {
        let call = self.edge.enter(request).await?;
        let query = call.query(|violations, request| {
            let filter = JobFilter {
                state: decode_state(violations, request.state),
                kind: (!request.kind.is_empty()).then(|| request.kind.clone()),
                org_id: field::optional_id(violations, "org_id", &request.org_id),
            };
            let of = format!("{} {} {}", request.state, request.kind, request.org_id);
            let page = PageRequest::decode(violations, request.page_size, &request.page_token, of);
            Some(ListJobs { filter, page: page? })
        })?;
        let page = self.edge.query(&call, &query).await?;
        Ok(Response::new(pb::ListJobsResponse {
            jobs: page.items.into_iter().map(to_proto).collect(),
            next_page_token: page.next_page_token,
        }))
    }

    async fn retry_job(
        &self,
        request: Request<pb::RetryJobRequest>,
    ) -> Result<Response<pb::RetryJobResponse>, Status> {
        let call = self.edge.enter(request).await?;
        let act = call.mutation(|v, r| Some(RetryJob(field::id(v, "job_id", &r.job_id)?)))?;
        let done = self.edge.mutate(&call, &act).await?;
        Ok(Response::new(pb::RetryJobResponse {
            job: done.view.map(to_proto),
            consistency_token: done.consistency_token,
        }))
    }

    async fn drop_job(
        &self,
        request: Request<pb::DropJobRequest>,
    ) -> Result<Response<pb::DropJobResponse>, Status> {
        let call = self.edge.enter(request).await?;
        let act = call.mutation(|v, r| Some(DropJob(field::id(v, "job_id", &r.job_id)?)))?;
        let consistency_token = self.edge.mutate(&call, &act).await?.consistency_token;
        Ok(Response::new(pb::DropJobResponse { consistency_token }))
    }
}
