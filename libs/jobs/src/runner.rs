use std::{collections::BTreeMap, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use async_trait::async_trait;
use futures::FutureExt as _;
use parta_database::{Db, StorageError};
use parta_ids::OrgId;
use tokio::sync::mpsc;
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};

use crate::{
    Job, Limits,
    lease::{self, End, Lease},
    wake::JobHints,
};

/// The failure of a job.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// A later attempt can succeed.
    #[error("{0}")]
    Retry(String),
    /// The database was unavailable or at a limit. The attempt does not count, so that a job does not fail
    /// for good by trouble that passes without it.
    #[error("{0}")]
    Unavailable(String),
    /// A retry cannot succeed. The row is kept with the reason, for the operator.
    #[error("{0}")]
    Fatal(String),
    /// The attempt stopped because [`Job::is_stopping`], and did not fail. The job is due at once, on any
    /// replica.
    #[error("the process stops")]
    Interrupted,
}

impl From<StorageError> for JobError {
    fn from(error: StorageError) -> Self {
        match error.is_transient() {
            true => Self::Unavailable(error.to_string()),
            false => Self::Retry(error.to_string()),
        }
    }
}

/// Runs the jobs of one kind. A handler must tolerate repeated runs with the same `request_id`.
///
/// The text of an error is stored and logged: it must not contain personal data.
#[async_trait]
pub trait JobHandler: Send + Sync {
    /// Runs the job. A panic counts as a failed attempt.
    async fn run(&self, job: &Job) -> Result<(), JobError>;
}

/// The poll interval for jobs of other replicas. Local commits wake the runner immediately.
const POLL_INTERVAL: Duration = Duration::from_secs(5);

/// The wait after an attempt that does not count, if the kind allows as long a wait.
const UNAVAILABLE_RETRY_DELAY: Duration = Duration::from_secs(10);

/// Runs due jobs until canceled.
pub struct JobRunner {
    db: Db,
    kinds: BTreeMap<String, Kind>,
    attempts: i32,
    lease: Duration,
}

struct Kind {
    limits: Limits,
    handler: Arc<dyn JobHandler>,
}

/// The attempts that run now, each in a task of its own: one that waits for the database holds up neither the
/// runner nor the others. They end when the runner is dropped.
struct Running {
    tasks: TaskTracker,
    dropped: CancellationToken,
    _drop_guard: DropGuard,
    ended: (mpsc::UnboundedSender<Ended>, mpsc::UnboundedReceiver<Ended>),
    counts: Counts,
}

/// The kind and the organization of an attempt that has ended.
type Ended = (String, Option<OrgId>);

/// The organizations of the running attempts of each kind.
#[derive(Default)]
struct Counts(BTreeMap<String, Vec<Option<OrgId>>>);

impl Running {
    fn new() -> Self {
        let dropped = CancellationToken::new();
        Self {
            tasks: TaskTracker::new(),
            _drop_guard: dropped.clone().drop_guard(),
            dropped,
            ended: mpsc::unbounded_channel(),
            counts: Counts::default(),
        }
    }

    fn start(&mut self, kind: &str, org: Option<OrgId>, attempt: impl Future<Output = ()> + Send + 'static) {
        self.counts.0.entry(kind.to_owned()).or_default().push(org);
        let (dropped, sender, kind) = (self.dropped.clone(), self.ended.0.clone(), kind.to_owned());
        self.tasks.spawn(async move {
            dropped.run_until_cancelled(attempt).await;
            // Without a receiver the runner was dropped.
            let _ = sender.send((kind, org));
        });
    }

    fn is_idle(&self) -> bool {
        self.counts.0.values().all(Vec::is_empty)
    }

    /// Waits until an attempt ends. Returns `false` at once if none runs.
    async fn ended(&mut self) -> bool {
        if self.is_idle() {
            return false;
        }
        let Some((kind, org)) = self.ended.1.recv().await else {
            return false;
        };
        let orgs = self.counts.0.entry(kind).or_default();
        if let Some(index) = orgs.iter().position(|other| *other == org) {
            orgs.swap_remove(index);
        }
        true
    }
}

impl Counts {
    fn has_capacity(&self, kind: &str, limits: Limits) -> bool {
        self.0.get(kind).map_or(0, Vec::len) < limits.concurrent
    }

    /// The organizations that run as many jobs of the kind as one may.
    fn organizations_at_limit(&self, kind: &str, limits: Limits) -> Vec<OrgId> {
        let mut counts = BTreeMap::<OrgId, usize>::new();
        for org in self.0.get(kind).into_iter().flatten().flatten() {
            *counts.entry(*org).or_default() += 1;
        }
        counts.retain(|_, count| *count >= limits.per_organization);
        counts.into_keys().collect()
    }
}

impl JobRunner {
    /// Returns a runner without handlers.
    pub fn new(db: Db) -> Self {
        Self {
            db,
            kinds: BTreeMap::new(),
            attempts: 50,
            lease: Duration::from_secs(60),
        }
    }

    /// Registers `handler` for jobs of `kind`.
    #[must_use]
    pub fn handle(mut self, kind: impl Into<String>, limits: Limits, handler: Arc<dyn JobHandler>) -> Self {
        self.kinds.insert(kind.into(), Kind { limits, handler });
        self
    }

    /// Sets the number of attempts after which a job fails permanently.
    #[must_use]
    pub fn attempts(mut self, attempts: i32) -> Self {
        self.attempts = attempts;
        self
    }

    /// Sets the time after which another replica takes a job of a process that vanished.
    #[must_use]
    pub fn lease(mut self, duration: Duration) -> Self {
        self.lease = duration;
        self
    }

    /// Runs until canceled. Jobs that are running are completed first, unless their handlers interrupt them.
    pub async fn run(self, cancel: CancellationToken) {
        let mut hints = self.db.shared::<JobHints>().0.subscribe();
        let mut running = Running::new();
        while !cancel.is_cancelled() {
            hints.mark_unchanged();
            let started = self.start_due(&mut running, &cancel).await;
            let failed = started.is_err();
            let wait = match started {
                Ok(wait) => wait,
                Err(error) => {
                    tracing::warn!(%error, "job lookup failed");
                    POLL_INTERVAL
                }
            };
            let is_idle = running.is_idle();
            tokio::select! {
                () = cancel.cancelled() => {}
                _ = hints.changed(), if !failed => {}
                _ = running.ended(), if !is_idle => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
        while running.ended().await {}
    }

    /// Runs the jobs that are due, and those that they enqueue, until none is due or `cancel` is canceled.
    /// A job whose attempt fails is due again later.
    pub async fn run_due(&self, cancel: &CancellationToken) -> Result<(), StorageError> {
        let mut running = Running::new();
        let mut outcome = Ok(());
        loop {
            if !cancel.is_cancelled() && outcome.is_ok() {
                outcome = self.start_due(&mut running, cancel).await.map(drop);
            }
            if !running.ended().await {
                return outcome;
            }
        }
    }

    /// Starts the due jobs for which there is capacity. Returns the time until the next one is due.
    async fn start_due(
        &self,
        running: &mut Running,
        cancel: &CancellationToken,
    ) -> Result<Duration, StorageError> {
        let waits = self.waits(&running.counts).await?;
        if waits.values().all(|wait| !wait.is_zero()) {
            return Ok(shortest(&waits));
        }
        for (name, kind) in &self.kinds {
            if !waits.get(name).is_some_and(Duration::is_zero) {
                continue;
            }
            while running.counts.has_capacity(name, kind.limits) && !cancel.is_cancelled() {
                let excluded = running.counts.organizations_at_limit(name, kind.limits);
                let Some((job, lease)) = lease::claim(&self.db, name, &excluded, self.lease, cancel).await?
                else {
                    break;
                };
                let org = job.org_id;
                running.start(name, org, self.attempt(kind).perform(job, lease));
            }
        }
        // An error is the same trouble as that of the next claim, which logs it.
        Ok(shortest(&self.waits(&running.counts).await.unwrap_or_default()))
    }

    /// The time until a job of each kind with capacity is due, by the names of the kinds.
    async fn waits(&self, running: &Counts) -> Result<BTreeMap<String, Duration>, StorageError> {
        let with_capacity = self
            .kinds
            .iter()
            .filter(|(name, kind)| running.has_capacity(name, kind.limits));
        let kinds: Vec<_> = with_capacity
            .map(|(name, kind)| (name.as_str(), running.organizations_at_limit(name, kind.limits)))
            .collect();
        lease::until_due(&self.db, &kinds).await
    }

    fn attempt(&self, kind: &Kind) -> Attempt {
        Attempt {
            db: self.db.clone(),
            handler: kind.handler.clone(),
            limits: kind.limits,
            max_attempts: self.attempts,
        }
    }
}

/// The time until the next lookup, at most [`POLL_INTERVAL`].
fn shortest(waits: &BTreeMap<String, Duration>) -> Duration {
    let next = waits.values().min().copied().unwrap_or(POLL_INTERVAL);
    next.clamp(Duration::from_millis(20), POLL_INTERVAL)
}

/// One attempt of a job.
struct Attempt {
    db: Db,
    handler: Arc<dyn JobHandler>,
    limits: Limits,
    max_attempts: i32,
}

impl Attempt {
    /// Runs the attempt and stores how it ended. A failure to store it leaves the lease, after whose end the
    /// job runs again.
    async fn perform(self, job: Job, lease: Lease) {
        let outcome = tokio::select! {
            outcome = self.run(&job) => outcome,
            () = lease.lost(&self.db, &job) => {
                tracing::warn!(job.kind, job.id = %job.job_id, "lease of a job lost, attempt dropped");
                return;
            }
        };
        let end = self.end(&job, outcome);
        if let Err(error) = lease.end(&self.db, &job, end).await {
            tracing::warn!(job.kind, job.id = %job.job_id, %error, "outcome of a job not stored, it will run again");
        }
    }

    async fn run(&self, job: &Job) -> Result<(), JobError> {
        // The process ended in the middle of each attempt, perhaps because of the job.
        if job.attempts > self.max_attempts {
            return Err(JobError::Fatal("no attempt was completed".to_owned()));
        }
        let run = AssertUnwindSafe(self.handler.run(job)).catch_unwind();
        let ended = match self.limits.attempt_timeout {
            Some(timeout) => tokio::time::timeout(timeout, run).await.map_err(|_| timeout),
            None => Ok(run.await),
        };
        match ended {
            Ok(Ok(result)) => result,
            // The message of the panic may contain personal data. The hook of the process has logged the
            // place; the row and the log get none of the message.
            Ok(Err(_panic)) => Err(JobError::Retry("the handler panicked".to_owned())),
            Err(timeout) => Err(JobError::Retry(format!(
                "took longer than {} s",
                timeout.as_secs_f64()
            ))),
        }
    }

    /// Decides what follows from the outcome of an attempt.
    fn end(&self, job: &Job, outcome: Result<(), JobError>) -> End {
        let longest = self.limits.max_retry_delay;
        match outcome {
            Ok(()) => End::Done,
            Err(JobError::Interrupted) => End::Interrupted,
            Err(JobError::Unavailable(why)) => {
                self.retry(job, UNAVAILABLE_RETRY_DELAY.min(longest), why, false)
            }
            Err(JobError::Retry(why)) if job.attempts < self.max_attempts => {
                self.retry(job, lease::retry_delay(job.attempts, longest), why, true)
            }
            Err(error) => {
                tracing::error!(job.kind, job.id = %job.job_id, job.attempts, %error, "job failed permanently");
                End::Failed(error.to_string())
            }
        }
    }

    fn retry(&self, job: &Job, wait: Duration, why: String, counts: bool) -> End {
        tracing::info!(job.kind, job.id = %job.job_id, job.attempts, why, "job attempt failed, will be retried");
        End::Retry { wait, why, counts }
    }
}
