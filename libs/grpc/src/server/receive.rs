use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures::future::Either;
use http_body::{Frame, SizeHint};
use parta_proto::status::v1::ErrorReason;
use parta_status::RpcError;
use tokio::time::{Instant, Sleep};
use tonic::{Code, Status, body::Body};
use tower::Service;

use super::connections::RequestBytes;
use crate::{
    layer::{Layered, OnResponse, Refused, ResponseFuture, RpcService, layer, refused},
    rpc::{RpcRequest, RpcResult},
};

/// Bytes of a request that are not counted, so that a small call is served while uploads fill the memory.
/// `Limits::calls` bounds their sum. A client stream counts as many from its begin, so that their number is
/// bounded too.
const SMALL: u64 = 64 * 1024;

/// Limits the time that a request takes to arrive, and the bytes of requests that are in memory. The bytes
/// count until the response begins.
#[derive(Clone)]
pub(super) struct Receive {
    within: Duration,
}

impl Receive {
    pub(super) fn new(within: Duration) -> Self {
        Self { within }
    }
}

layer!(Receive, "receive");

impl<S: RpcService> Service<RpcRequest> for Layered<Receive, S> {
    type Response = crate::rpc::RpcResponse;
    type Error = Status;
    type Future = Either<Refused, ResponseFuture<S::Future, Arc<Received>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Status>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: RpcRequest) -> Self::Future {
        let received = Arc::new(Received {
            client: request.client.take(),
            bytes: AtomicU64::new(0),
        });
        let client_streaming = request.method.is_some_and(|method| method.client_streaming);
        if client_streaming && !received.reserve(SMALL) {
            return Either::Left(refused(too_many_bytes()));
        }
        let within = self.layer.within;
        let received_here = received.clone();
        request.http = request.http.map(|inner| {
            Body::new(RequestBody {
                inner,
                received: received_here,
                uncounted: SMALL,
                until: Instant::now() + within,
                within,
                timer: None,
            })
        });
        Either::Right(ResponseFuture::new(self.inner.call(request), received))
    }
}

/// The counted bytes of one request, until the body and the call have ended.
pub(crate) struct Received {
    /// `None` for a caller in this process.
    client: Option<Arc<RequestBytes>>,
    bytes: AtomicU64,
}

impl Received {
    fn reserve(&self, bytes: u64) -> bool {
        let reserved = self.client.as_ref().is_none_or(|client| client.reserve(bytes));
        if reserved {
            self.bytes.fetch_add(bytes, Ordering::Relaxed);
        }
        reserved
    }
}

impl Drop for Received {
    fn drop(&mut self) {
        if let Some(client) = &self.client {
            client.release(*self.bytes.get_mut());
        }
    }
}

impl OnResponse<RpcResult> for Arc<Received> {
    fn on_response(self, result: RpcResult) -> RpcResult {
        result
    }
}

/// The body of a request. Its errors are refusals: for the server of tonic, a client stream that was
/// canceled ends like a complete one.
struct RequestBody {
    inner: Body,
    received: Arc<Received>,
    /// The bytes that may still arrive before the others are counted.
    uncounted: u64,
    until: Instant,
    within: Duration,
    /// Only for a body that was waited for, which those of most calls are not. A client that sends without a
    /// pause is stopped by the bytes.
    timer: Option<Pin<Box<Sleep>>>,
}

impl RequestBody {
    fn count(&mut self, bytes: u64) -> bool {
        let uncounted = bytes.min(self.uncounted);
        self.uncounted -= uncounted;
        bytes == uncounted || self.received.reserve(bytes - uncounted)
    }
}

impl http_body::Body for RequestBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = self.get_mut();
        let frame = match Pin::new(&mut this.inner).poll_frame(cx) {
            Poll::Ready(frame) => frame,
            Poll::Pending => {
                let until = this.until;
                let timer = this
                    .timer
                    .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(until)));
                return timer.as_mut().poll(cx).map(|()| Some(Err(too_slow(this.within))));
            }
        };
        Poll::Ready(match frame {
            Some(Ok(frame)) => {
                let bytes = frame.data_ref().map_or(0, |data| data.len() as u64);
                if this.count(bytes) {
                    Some(Ok(frame))
                } else {
                    Some(Err(too_many_bytes()))
                }
            }
            Some(Err(status)) if status.code() == Code::Cancelled => Some(Err(incomplete())),
            end => end,
        })
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

fn too_many_bytes() -> Status {
    let refusal = RpcError::new(
        ErrorReason::TooManyRequestBytes,
        "The server is receiving too many large requests. Try again in a few seconds.",
    );
    refusal.retry_after(Duration::from_secs(5)).into()
}

fn too_slow(within: Duration) -> Status {
    let seconds = within.as_secs();
    let message = format!("The request did not arrive within {seconds} seconds. Send it again.");
    RpcError::new(ErrorReason::DeadlineExceeded, message).into()
}

/// The caller does not read it: it has canceled the call.
fn incomplete() -> Status {
    let message = "The request ended before it was complete. Send it again.";
    RpcError::new(ErrorReason::FieldInvalid, message)
        .field("", message)
        .into()
}
