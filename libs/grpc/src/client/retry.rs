use std::{fmt, sync::Arc, time::Duration};

use backon::{BackoffBuilder, ExponentialBuilder};
use futures::future::BoxFuture;
use parta_ids::{Env, IdSource};
use parta_status::RpcError;
use tokio::time::Instant;
use tonic::{Code, Status, body::Body};
use tower::retry::budget::{Budget, TpsBudget};

use super::Idempotent;
use crate::{
    body::{self, Whole},
    step::{Call, Next, Outcome, Request, Step},
};

/// Attempts of a call without [`Patience`], and attempts to connect.
const ATTEMPTS: usize = 3;
/// The longest delay of `RetryInfo` that a call without [`Patience`] waits for.
const LONGEST_DELAY: Duration = Duration::from_secs(5);

/// How a program that a person runs repeats refused calls: until a time limit instead of three times.
#[derive(Clone)]
pub struct Patience {
    /// No attempt begins later than this after the first attempt.
    pub limit: Duration,
    /// `notice` is called for calls that are still refused after this time.
    pub notice_after: Duration,
    /// Receives the refusal, once for each call.
    pub notice: Arc<dyn Fn(&RpcError) + Send + Sync>,
}

impl fmt::Debug for Patience {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Patience");
        debug.field("limit", &self.limit).finish_non_exhaustive()
    }
}

pub(super) struct Retry {
    peer: String,
    ids: Arc<dyn IdSource>,
    patience: Option<Patience>,
    /// Limits retries without patience to 20 percent of the calls, so that services do not overload a peer in
    /// trouble.
    budget: Arc<TpsBudget>,
}

impl Retry {
    pub(super) fn new(peer: &str, env: &Env, patience: Option<Patience>) -> Self {
        let budget = TpsBudget::new(Duration::from_secs(10), 5, 0.2);
        Self {
            peer: peer.to_owned(),
            ids: env.ids.clone(),
            patience,
            budget: Arc::new(budget),
        }
    }

    /// Returns the delay with up to half of it added, so that callers who were refused together do not come
    /// back together.
    fn spread(&self, delay: Duration) -> Duration {
        let mut random = [0];
        self.ids.fill(&mut random);
        delay + delay * u32::from(random[0]) / 512
    }

    /// Returns how long to wait before the next attempt; `None` if there is none. `pauses` ends with the
    /// attempts of a call without patience, `elapsed` is the time since the first attempt.
    fn pause(
        &self,
        failure: &Failure,
        pauses: &mut impl Iterator<Item = Duration>,
        elapsed: Duration,
    ) -> Option<Duration> {
        let delay = failure.retry_delay()?;
        let pause = match (delay, &self.patience) {
            (Some(delay), Some(patience)) => {
                let pause = self.spread(delay);
                return (elapsed + pause <= patience.limit).then_some(pause);
            }
            (Some(delay), None) if delay > LONGEST_DELAY => None,
            (Some(delay), None) => pauses.next().map(|pause| pause.max(self.spread(delay))),
            (None, _) => pauses.next(),
        };
        pause.filter(|_| self.budget.withdraw())
    }

    /// Reports a refusal that has lasted for long, and returns whether it did.
    fn notify(&self, failure: &Failure, elapsed: Duration) -> bool {
        let Some(patience) = self.patience.as_ref().filter(|p| elapsed >= p.notice_after) else {
            return false;
        };
        let refusal = failure.refusal();
        if let Some(refusal) = &refusal {
            (patience.notice)(refusal);
        }
        refusal.is_some()
    }

    /// Converts the failure to a status. A failed connection becomes a documented reason instead of the error
    /// of the transport.
    fn explain(&self, failure: Failure) -> Status {
        match failure {
            Failure::Answered(status) => status,
            Failure::Unconnected => parta_status::unavailable(&self.peer).into(),
        }
    }
}

enum Failure {
    Answered(Status),
    Unconnected,
}

impl Failure {
    fn of(status: Status) -> Self {
        let transport = std::error::Error::source(&status)
            .is_some_and(<dyn std::error::Error>::is::<tonic::transport::Error>);
        if transport {
            Self::Unconnected
        } else {
            Self::Answered(status)
        }
    }

    fn refusal(&self) -> Option<RpcError> {
        match self {
            Self::Answered(status) => RpcError::from_status(status),
            Self::Unconnected => None,
        }
    }

    /// Returns `None` if the call must not be retried, and otherwise the delay of `RetryInfo`, which a failed
    /// connection does not have.
    fn retry_delay(&self) -> Option<Option<Duration>> {
        match self {
            Self::Unconnected => Some(None),
            Self::Answered(status) if status.code() == Code::Unavailable => {
                let refusal = RpcError::from_status(status);
                refusal.and_then(|refusal| refusal.retry_delay()).map(Some)
            }
            Self::Answered(_) => None,
        }
    }
}

impl Step for Retry {
    fn name(&self) -> &'static str {
        "retry"
    }

    fn call<'a>(&'a self, call: Call, next: Next<'a>) -> BoxFuture<'a, Outcome> {
        Box::pin(async move {
            if call.request.extensions().get::<Idempotent>().is_none() {
                return next
                    .run(call)
                    .await
                    .map_err(|status| self.explain(Failure::of(status)));
            }
            self.budget.deposit();
            let (head, sent) = call.request.into_parts();
            let (data, _) = body::collect(sent).await?;
            let mut pauses = ExponentialBuilder::new()
                .with_jitter()
                .with_min_delay(Duration::from_millis(50))
                .with_max_delay(Duration::from_secs(2))
                .with_max_times(ATTEMPTS - 1)
                .build();
            let (begun, mut notified) = (Instant::now(), false);
            loop {
                let request = Request::from_parts(head.clone(), Body::new(Whole(Some(data.clone()))));
                let method = call.method;
                let outcome = next.run(Call { request, method }).await;
                let failure = match outcome {
                    Err(status) => Failure::of(status),
                    // A refusal without a body carries its status in the headers.
                    Ok(answer) => match Status::from_header_map(answer.response.headers()) {
                        Some(status) if status.code() == Code::Unavailable => Failure::Answered(status),
                        _ => return Ok(answer),
                    },
                };
                let Some(pause) = self.pause(&failure, &mut pauses, begun.elapsed()) else {
                    return Err(self.explain(failure));
                };
                notified = notified || self.notify(&failure, begun.elapsed());
                tokio::time::sleep(pause).await;
            }
        })
    }
}
