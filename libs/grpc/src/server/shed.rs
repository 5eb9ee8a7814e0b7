use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use futures::future::Either;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::Status;
use tower::Service;

use crate::{
    layer::{Layered, OnResponse, Refused, ResponseFuture, RpcService, layer, refused},
    rpc::{RpcRequest, RpcResponse, RpcResult},
};

/// The limits of the calls of a server.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Concurrent unary calls of one service. Calls beyond it are refused, never queued.
    pub calls: usize,
    /// Open streams of one service, which are counted separately because they last for hours. Health checks
    /// that watch and reflection together may have as many.
    pub streams: usize,
    /// The time that a request may take to arrive. A unary call has its deadline as well.
    pub receive: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            calls: 1024,
            streams: 16_384,
            receive: Duration::from_secs(120),
        }
    }
}

/// Counts the watching health checks and reflection, which no service owns.
const OPEN: &str = "open";

struct Counters {
    calls: Arc<Semaphore>,
    streams: Arc<Semaphore>,
}

#[derive(Clone)]
pub(super) struct Shed(Arc<Services>);

struct Services {
    limits: Limits,
    /// Counters by owning service: overload of one service must not refuse calls of others in the same
    /// process.
    counters: Mutex<HashMap<&'static str, Arc<Counters>>>,
}

impl Shed {
    pub(super) fn new(limits: Limits) -> Self {
        let counters = Mutex::default();
        Self(Arc::new(Services { limits, counters }))
    }

    /// Returns a permit for a call; `None` if the limit is reached.
    fn acquire(&self, owner: &'static str, streaming: bool) -> Option<OwnedSemaphorePermit> {
        let counters = self.counters(owner);
        let semaphore = if streaming {
            &counters.streams
        } else {
            &counters.calls
        };
        semaphore.clone().try_acquire_owned().ok()
    }

    fn counters(&self, owner: &'static str) -> Arc<Counters> {
        let mut counters = self.0.counters.lock().unwrap_or_else(PoisonError::into_inner);
        let Limits { calls, streams, .. } = self.0.limits;
        counters
            .entry(owner)
            .or_insert_with(|| {
                let semaphore = |n| Arc::new(Semaphore::new(n));
                Arc::new(Counters {
                    calls: semaphore(calls),
                    streams: semaphore(streams),
                })
            })
            .clone()
    }
}

layer!(Shed, "shed");

impl<S: RpcService> Service<RpcRequest> for Layered<Shed, S> {
    type Response = RpcResponse;
    type Error = Status;
    type Future = Either<Refused, ResponseFuture<S::Future, Permit>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Status>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: RpcRequest) -> Self::Future {
        let counted = match request.method {
            Some(method) => Some((method.owner, method.streaming)),
            // Streams without a credential, which last as long as their clients wish.
            None if request.is_open() && !request.is_health_check() => Some((OPEN, true)),
            // A health check is served also while other calls are refused.
            None => None,
        };
        let permit = match counted {
            None => None,
            Some((owner, streaming)) => match self.layer.acquire(owner, streaming) {
                None => return Either::Left(refused(overloaded())),
                permit => permit,
            },
        };
        Either::Right(ResponseFuture::new(self.inner.call(request), Permit(permit)))
    }
}

/// The permit of a call. Unknown RPCs and single health checks need none.
pub(crate) struct Permit(Option<OwnedSemaphorePermit>);

impl OnResponse<RpcResult> for Permit {
    fn on_response(self, result: RpcResult) -> RpcResult {
        let mut response = result?;
        // The permit is held until the response is delivered.
        response.guard.permit = self.0;
        Ok(response)
    }
}

fn overloaded() -> Status {
    let why = "The server is overloaded. Try again in a moment.";
    parta_status::overloaded(why, Duration::from_secs(1)).into()
}
