use std::{sync::Arc, time::Duration};

use backon::{BackoffBuilder, ExponentialBuilder};
use futures::future::BoxFuture;
use parta_status::RpcError;
use tonic::{Code, Status, body::Body};
use tower::retry::budget::{Budget, TpsBudget};

use super::Idempotent;
use crate::{
    body::{self, Whole},
    step::{Next, Request, RpcRequest, RpcResult, Step},
};

const ATTEMPTS: usize = 3;

pub(super) struct Retry {
    peer: String,
    /// Limits retries to 20 percent of the calls, so that callers do not overload a peer in trouble.
    budget: Arc<TpsBudget>,
}

impl Retry {
    pub(super) fn new(peer: &str) -> Self {
        let budget = TpsBudget::new(Duration::from_secs(10), 5, 0.2);
        Self {
            peer: peer.to_owned(),
            budget: Arc::new(budget),
        }
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

impl Step for Retry {
    fn name(&self) -> &'static str {
        "retry"
    }

    fn call<'a>(&'a self, call: RpcRequest, next: Next<'a>) -> BoxFuture<'a, RpcResult> {
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
            loop {
                let request = Request::from_parts(head.clone(), Body::new(Whole(Some(data.clone()))));
                let method = call.method;
                let outcome = next.run(RpcRequest { request, method }).await;
                let failure = match outcome {
                    Err(status) => Failure::of(status),
                    // A refusal without a body carries its status in the headers.
                    Ok(answer) => match Status::from_header_map(answer.response.headers()) {
                        Some(status) if status.code() == Code::Unavailable => Failure::Answered(status),
                        _ => return Ok(answer),
                    },
                };
                match (failure.may_repeat(), pauses.next()) {
                    (Some(wait), Some(pause)) if wait <= Duration::from_secs(5) && self.budget.withdraw() => {
                        tokio::time::sleep(pause.max(wait)).await;
                    }
                    _ => return Err(self.explain(failure)),
                }
            }
        })
    }
}
