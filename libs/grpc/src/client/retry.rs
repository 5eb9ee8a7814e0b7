use std::{
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use backon::{BackoffBuilder, ExponentialBuilder};
use futures::future::{BoxFuture, Either};
use parta_status::RpcError;
use tonic::{Code, Status, body::Body};
use tower::{
    Service,
    retry::budget::{Budget, TpsBudget},
};

use super::Idempotent;
use crate::{
    body::{self, Whole},
    layer::{Layered, OnResponse, ResponseFuture, RpcService, layer},
    rpc::{HttpRequest, RpcRequest, RpcResponse, RpcResult},
};

const ATTEMPTS: usize = 3;

#[derive(Clone)]
pub(super) struct Retry {
    peer: Arc<str>,
    /// Limits retries to 20 percent of the calls, so that callers do not overload a peer in trouble.
    budget: Arc<TpsBudget>,
}

impl Retry {
    pub(super) fn new(peer: &str) -> Self {
        let budget = TpsBudget::new(Duration::from_secs(10), 5, 0.2);
        Self {
            peer: peer.into(),
            budget: Arc::new(budget),
        }
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
            Failure::Answered(status) => status,
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

    /// Returns the minimum delay before another attempt; `None` if the call must not be retried.
    fn may_repeat(&self) -> Option<Duration> {
        match self {
            Self::Unconnected => Some(Duration::ZERO),
            Self::Answered(status) if status.code() == Code::Unavailable => {
                RpcError::from_status(status).and_then(|refusal| refusal.retry_delay())
            }
            Self::Answered(_) => None,
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
        let peer = self.layer.peer.clone();
        if request.http.extensions().get::<Idempotent>().is_none() {
            return Either::Left(ResponseFuture::new(self.inner.call(request), Explain { peer }));
        }
        let (budget, inner) = (self.layer.budget.clone(), self.inner.clone());
        Either::Right(Box::pin(repeat(inner, request, budget, Explain { peer })))
    }
}

/// Calls the service until it succeeds, or must not be called again.
async fn repeat<S: RpcService>(
    mut service: S,
    request: RpcRequest,
    budget: Arc<TpsBudget>,
    explain: Explain,
) -> RpcResult {
    budget.deposit();
    let method = request.method;
    let (head, sent) = request.http.into_parts();
    let (data, _) = body::collect(sent).await?;
    let mut pauses = ExponentialBuilder::new()
        .with_jitter()
        .with_min_delay(Duration::from_millis(50))
        .with_max_delay(Duration::from_secs(2))
        .with_max_times(ATTEMPTS - 1)
        .build();
    loop {
        let http = HttpRequest::from_parts(head.clone(), Body::new(Whole(Some(data.clone()))));
        let failure = match service.call(RpcRequest { http, method }).await {
            Err(status) => Failure::of(status),
            // A refusal without a body carries its status in the headers.
            Ok(response) => match Status::from_header_map(response.http.headers()) {
                Some(status) if status.code() == Code::Unavailable => Failure::Answered(status),
                _ => return Ok(response),
            },
        };
        match (failure.may_repeat(), pauses.next()) {
            (Some(wait), Some(pause)) if wait <= Duration::from_secs(5) && budget.withdraw() => {
                tokio::time::sleep(pause.max(wait)).await;
            }
            _ => return Err(explain.explain(failure)),
        }
    }
}
