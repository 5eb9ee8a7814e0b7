use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use backon::{BackoffBuilder, ExponentialBuilder};
use futures::future::{BoxFuture, Either};
use parta_ids::{Env, IdSource};
use parta_status::RpcError;
use tokio::time::Instant;
use tonic::{Code, Status, body::Body};
use tower::{
    Service,
    retry::budget::{Budget, TpsBudget},
};

use super::{replicas::Unreachable, request::Idempotent};
use crate::{
    body::{self, SingleChunk},
    layer::{Layered, OnResponse, ResponseFuture, RpcService, layer},
    rpc::{HttpRequest, RpcRequest, RpcResponse, RpcResult},
    status_headers::received_status,
};

/// Attempts of a call without [`Patience`], and attempts to connect.
const ATTEMPTS: usize = 3;
/// The longest delay of `RetryInfo` that a call without [`Patience`] waits for.
const MAX_DELAY: Duration = Duration::from_secs(5);

/// The repetition of refused calls by a program that a person runs: until a time limit instead of three
/// times.
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

#[derive(Clone)]
pub(super) struct Retry {
    peer: Arc<str>,
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
            peer: peer.into(),
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
            (Some(delay), None) if delay > MAX_DELAY => None,
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
}

/// Converts a failure to a status. A failed connection becomes a documented reason instead of the error of
/// the transport.
pub(crate) struct Explain {
    peer: Arc<str>,
}

impl Explain {
    fn explain(&self, failure: Failure) -> Status {
        match failure {
            Failure::Returned(status) => status,
            Failure::Unconnected => parta_status::unavailable(&self.peer).into(),
        }
    }
}

impl OnResponse<RpcResult> for Explain {
    fn on_response(self, result: RpcResult) -> RpcResult {
        result.map_err(|status| self.explain(Failure::of(status)))
    }
}

enum Failure {
    Returned(Status),
    Unconnected,
}

impl Failure {
    fn of(status: Status) -> Self {
        let transport = std::error::Error::source(&status)
            .is_some_and(|error| error.is::<tonic::transport::Error>() || error.is::<Unreachable>());
        if transport {
            Self::Unconnected
        } else {
            Self::Returned(status)
        }
    }

    fn refusal(&self) -> Option<RpcError> {
        match self {
            Self::Returned(status) => RpcError::from_status(status),
            Self::Unconnected => None,
        }
    }

    /// Returns `None` if the call must not be retried, and otherwise the delay of `RetryInfo`, which a failed
    /// connection does not have.
    fn retry_delay(&self) -> Option<Option<Duration>> {
        match self {
            Self::Unconnected => Some(None),
            Self::Returned(status) if status.code() == Code::Unavailable => {
                let refusal = RpcError::from_status(status);
                refusal.and_then(|refusal| refusal.retry_delay()).map(Some)
            }
            Self::Returned(_) => None,
        }
    }
}

layer!(Retry, "retry");

impl<S> Service<RpcRequest> for Layered<Retry, S>
where
    S: RpcService<Future: Send> + Clone + Send + 'static,
{
    type Response = RpcResponse;
    type Error = Status;
    type Future = Either<ResponseFuture<S::Future, Explain>, BoxFuture<'static, RpcResult>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Status>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: RpcRequest) -> Self::Future {
        if request.http.extensions().get::<Idempotent>().is_none() {
            let peer = self.layer.peer.clone();
            return Either::Left(ResponseFuture::new(self.inner.call(request), Explain { peer }));
        }
        Either::Right(Box::pin(repeat(self.inner.clone(), request, self.layer.clone())))
    }
}

/// Calls the service until it succeeds, or must not be called again.
async fn repeat<S: RpcService>(mut service: S, request: RpcRequest, retry: Retry) -> RpcResult {
    retry.budget.deposit();
    let method = request.method;
    let (head, sent) = request.http.into_parts();
    let (data, _) = body::collect(sent).await?;
    let mut pauses = ExponentialBuilder::new()
        .with_jitter()
        .with_min_delay(Duration::from_millis(50))
        .with_max_delay(Duration::from_secs(2))
        .with_max_times(ATTEMPTS - 1)
        .build();
    let (begun, mut notified) = (Instant::now(), false);
    loop {
        let http = HttpRequest::from_parts(head.clone(), Body::new(SingleChunk(Some(data.clone()))));
        let failure = match service
            .call(RpcRequest {
                http,
                method,
                client: None,
                address: None,
            })
            .await
        {
            Err(status) => Failure::of(status),
            // A refusal without a body carries its status in the headers.
            Ok(response) => match received_status(response.http.headers()) {
                Some(status) if status.code() == Code::Unavailable => Failure::Returned(status),
                _ => return Ok(response),
            },
        };
        let Some(pause) = retry.pause(&failure, &mut pauses, begun.elapsed()) else {
            let peer = retry.peer.clone();
            return Err(Explain { peer }.explain(failure));
        };
        notified = notified || retry.notify(&failure, begun.elapsed());
        tokio::time::sleep(pause).await;
    }
}
